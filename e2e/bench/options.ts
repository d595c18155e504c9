import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/** The parts that can be measured, in the order in which they run. */
export const parts = [
  'start',
  'rates',
  'checkout',
  'adjust',
  'bulk',
  'latency',
  'router',
  'processes',
  'refused',
  'reads',
  'replica',
  'stack',
  'telemetry',
  'backup',
  'events',
  'pipeline',
  'jobs',
  'large',
  'restore',
] as const
export type Part = (typeof parts)[number]

export interface Options {
  parts: readonly Part[]
  /** The number of rounds. In each, every contender is measured once. */
  rounds: number
  seconds: number
  /** The unmeasured seconds right before each measurement. */
  warmSeconds: number
  /** The number of HTTP connections in all. */
  connections: number
  products: number
  largeProducts: number
  /** Whether Medusa's inventory module takes part in the rates. */
  peer: boolean
  folder: string
  /** Only draws charts and tables from existing results. */
  render: boolean
}

const USAGE = `npm run bench -- [--part NAME]... [--large] [--no-peer] [--rounds N] [--seconds N] [--warm N] [--connections N]
                 [--products N] [--large-products N] [--out FOLDER]

Reservations a second and their latency, over HTTP on running processes, in turn with others that do the same work on the
same PostgreSQL, with fsync on. Quick look: --rounds 1 --seconds 2.

parts (--part, repeatable; default: all but large and restore)
  start      a function's start against a bare Hono bundle's
  rates      reserve-stock against pgbench, a naive handler and Medusa's inventory module: one hot product, and 10,000
  checkout   sales a second, a reservation and its confirmation each, against pgbench with the same two transactions
  adjust     adjustments a second against pgbench with one transaction each
  bulk       the latency of query-availability for 500 products against one
  latency    p50 and p99 at half of what saturates, with arrivals that don't wait for answers
  router     a function behind the router against behind nginx and without a proxy, over 32 connections and for one client
  processes  four processes on one hot product against one
  refused    refusals for want of stock against acceptances
  reads      get-product with each cache and rate limit against a bare handler with the same answer
  replica    what a replica and a cache take off the primary; what it costs to commit on the replica too
  stack      one hot product through npm start as a whole, with its replica, against reserve-stock alone
  telemetry  holds, sales and reads with metrics and access log, and with traces, against the same without
  backup     sales while the log is archived, and during a full backup, against the same with neither; how far the archive is behind
  events     events a second from the outbox to Kafka; their lag at 2,000 reservations a second; an idle consumer's CPU
  pipeline   sales a second that every stage on Kafka keeps up with, against those that the front alone takes
  jobs       jobs a second from submission to success, through RabbitMQ or polled from the table
  large      1,000,000 products and 10,000,000 ledger rows against 10,000 and 100,000, and the catalogue's page 10,000 against
             its first (also: --large; needs 12 GB of disk)
  restore    from the loss of 1,000,000 products to the first reservation on what was restored (needs 30 GB of disk)

  --rounds N          alternations (5)                --connections N     HTTP connections in all (256)
  --seconds N         of each measurement (5)         --products N        that the spread load chooses from (10,000)
  --warm N            seconds before each, unmeasured (3)
  --no-peer           leave out Medusa, which is installed with npm into .local/bench-peer
  --out FOLDER        where reservations.json, the charts and the tables go (docs/benchmarks); other parts' results stay
  --render            measures nothing: draws charts and tables anew from reservations.json
`

/** Reads the command line. Ends the process after --help. If an option is wrong, throws an error that says so. */
export function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      part: { type: 'string', multiple: true },
      large: { type: 'boolean', default: false },
      'no-peer': { type: 'boolean', default: false },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '5' },
      warm: { type: 'string', default: '3' },
      connections: { type: 'string', default: '256' },
      products: { type: 'string', default: '10000' },
      'large-products': { type: 'string', default: '1000000' },
      out: { type: 'string' },
      render: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(USAGE)
    process.exit(0)
  }
  const wanted = values.part ?? parts.filter((part) => part !== 'large' && part !== 'restore')
  const unknown = wanted.find((name) => !parts.some((part) => part === name))
  if (unknown !== undefined) throw new Error(`There is no part '${unknown}'; there are ${parts.join(', ')}.`)
  return {
    parts: parts.filter((part) => wanted.includes(part) || (part === 'large' && values.large)),
    rounds: positive('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    warmSeconds: positive('warm', values.warm),
    connections: positive('connections', values.connections),
    products: positive('products', values.products),
    largeProducts: positive('large-products', values['large-products']),
    peer: !values['no-peer'],
    render: values.render,
    folder: values.out ?? fileURLToPath(new URL('../../docs/benchmarks', import.meta.url)),
  }
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number from 1 on.`)
  return value
}
