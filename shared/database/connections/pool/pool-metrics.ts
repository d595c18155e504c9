import { gauge, histogram } from '#telemetry'

/** The numbers that a pool reports. */
interface Usage {
  limit: number
  /** Open connections, including idle ones. */
  open: number
  idle: number
  waiting: number
}

const pools = new Map<string, () => Usage>()

const connections = gauge(
  'database_pool_connections',
  'Open connections for transactions, by pool: `busy`, or `idle`.',
  ['pool', 'state'],
  collect,
)
const limit = gauge('database_pool_limit', 'Connections for transactions that a pool opens at most.', ['pool'])
const waiting = gauge('database_pool_waiting', 'Transactions that wait for a connection of the pool.', ['pool'])
const wait = histogram('database_pool_wait_seconds', 'Time that a transaction has waited for a connection.', ['pool'])

function collect(): void {
  for (const [pool, usage] of pools) {
    const { open, idle, ...rest } = usage()
    connections.set({ pool, state: 'busy' }, open - idle)
    connections.set({ pool, state: 'idle' }, idle)
    limit.set({ pool }, rest.limit)
    waiting.set({ pool }, rest.waiting)
  }
}

/** Makes the metrics report a pool, in place of an earlier one with the same name. Returns the function that observes a wait, in milliseconds. */
export function watchPool(name: string, usage: () => Usage): (waitMs: number) => void {
  pools.set(name, usage)
  const observer = wait.labels(name)
  return (waitMs) => observer.observe(waitMs / 1000)
}
