import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { closeLater, withClosing } from '../bench/closing.ts'
import { Checker } from './checks/checker.ts'
import type { Attempt } from './checks/history.ts'
import { judge } from './checks/judge.ts'
import { actions, type Fault, faults, nameOf } from './faults.ts'
import { type Client, createClient } from './load/client.ts'
import { type Load, startLoad } from './load/load.ts'
import { describeRound, planOf, type Round, seconds } from './plan.ts'
import { writeReport } from './report/report.ts'
import { createRounds, type Outcome } from './rounds.ts'
import { startCompose } from './targets/compose-target.ts'
import { fitsProcesses, startProcesses } from './targets/processes-target.ts'
import type { Target } from './targets/target.ts'

const USAGE = `npm run chaos -- --minutes N --seed S

Runs the shop under load, breaks one or two of its parts at a time, and checks every answer against what is there in the end.
Exits with 1 if it finds a broken promise. docs/chaos.md says more.

  --minutes N      for how long faults are injected, 2 by default
  --seed S         the same seed gives the same plan; a random one by default
  --only NAMES     of these faults alone, such as 'kill primary,stall redis'
  --target T       processes of this machine (processes, the default), or docker-compose.yml on a project of its own (compose)
  --plan           prints the plan and the faults, and runs nothing
  --out FOLDER     where the report goes: .local/chaos/<target>-<seed> by default
`
const targets = {
  processes: { start: startProcesses, fits: fitsProcesses },
  compose: { start: startCompose, fits: () => true },
}
const MINUTES_MAX = 60
/** A round takes at least some 5 s. */
const ROUNDS_A_MINUTE = 12
const WARM_MS = 60_000

const startedAt = performance.now()
const progress = (line: string) =>
  process.stdout.write(`${seconds(performance.now() - startedAt).padStart(8)}  ${line}\n`)

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', short: 'h' },
      plan: { type: 'boolean' },
      minutes: { type: 'string', default: '2' },
      seed: { type: 'string', default: String(randomInt(1_000_000)) },
      only: { type: 'string' },
      out: { type: 'string' },
      target: { type: 'string', default: 'processes' },
    },
  })
  if (values.help) return void process.stdout.write(USAGE)
  const minutes = numberIn(values.minutes, '--minutes', 0.1, MINUTES_MAX)
  const seed = Math.floor(numberIn(values.seed, '--seed', 0, 2 ** 31))
  const names = values.only?.split(',').map((name) => name.trim())
  const kind = targets[values.target as keyof typeof targets]
  if (!kind) throw new Error(`--target must be ${Object.keys(targets).join(' or ')}, not ${values.target}`)
  const fitting = faults.filter(kind.fits)
  const unknown = names?.filter((name) => !fitting.some((fault) => nameOf(fault) === name)) ?? []
  if (unknown.length > 0) throw new Error(`there is no fault ${unknown}: --plan lists them`)
  const table = fitting.filter((fault) => names?.includes(nameOf(fault)) ?? true)
  const rounds = planOf(seed, Math.ceil(minutes * ROUNDS_A_MINUTE), table)
  process.stdout.write(`seed ${seed}; it plays as many of these as there is time for:\n`)
  for (const round of rounds) process.stdout.write(`  ${describeRound(round)}\n`)
  if (values.plan) return printFaults(fitting)
  await withClosing(async () => {
    const target = await kind.start(progress)
    const isFine = await run(target, {
      minutes,
      seed,
      rounds,
      out: values.out ?? `.local/chaos/${values.target}-${seed}`,
    })
    process.exitCode = isFine ? 0 : 1
  })
}

interface Options {
  minutes: number
  seed: number
  rounds: readonly Round[]
  out: string
}

async function run(target: Target, { minutes, seed, rounds, out }: Options): Promise<boolean> {
  const checker = new Checker()
  const attempts: Attempt[] = []
  const outcomes: Outcome[] = []
  // Nothing is broken yet.
  let onAttempt = (attempt: Attempt) => checker.attempt(attempt, false)
  const client = await createClient(target, (attempt) => {
    attempts.push(attempt)
    onAttempt(attempt)
  })
  closeLater(client.close)
  let load: Load | undefined
  target.onDelivery((text) => {
    const { id, data } = JSON.parse(text)
    checker.delivered({ id, productId: data.productId, version: data.version })
    load?.deliver(data.reservationId)
  })
  await createWebhook(client, target.receiverUrl)
  load = await startLoad(client, checker, seed)
  const game = createRounds(target, client, load, checker)
  onAttempt = game.onAttempt
  const truth = await play(game, rounds, minutes, outcomes)
    .then(() => load.stop())
    .then(() => judge(client, checker, load, seed))
    .catch((error: Error) => {
      checker.find('recovery', error.message)
      return undefined
    })
  for (const failure of target.failures) checker.find('recovery', failure)
  const { findings } = checker
  process.stdout.write(await writeReport({ target, seed, minutes, outcomes, attempts, findings, truth }, out))
  return findings.length === 0
}

async function createWebhook({ decide }: Client, url: string): Promise<void> {
  const events = ['product.created', 'product.updated', 'stock.adjusted', 'stock.reserved', 'stock.released']
  const more = ['stock.expired', 'stock.confirmed', 'stock.counted', 'stock.low', 'stock.out', 'stock.back']
  const body = { url, events: [...events, ...more] }
  const answer = await decide({ operation: 'POST /v1/webhooks', body, key: 'chaos' })
  if (answer?.status !== 201) throw new Error(`no webhook could be made: ${answer?.text}`)
}

/** Runs rounds until the time is over. Throws if the target does not recover. */
async function play(
  game: ReturnType<typeof createRounds>,
  rounds: readonly Round[],
  minutes: number,
  outcomes: Outcome[],
): Promise<void> {
  progress('warming up')
  await game.recovery(Date.now(), WARM_MS)
  const end = performance.now() + minutes * 60_000
  for (const round of rounds) {
    if (performance.now() > end) break
    progress(describeRound(round))
    const outcome = await game.play(round)
    outcomes.push(outcome)
    const hit = outcome.strikes.map(({ hit }) => hit).join(', ')
    progress(`   (${hit}) as before after ${seconds(outcome.recoveredInMs)}, ${outcome.refused} requests refused`)
  }
  progress('stopping the load, and comparing what was acknowledged with what is there')
}

function numberIn(text: string, name: string, min: number, max: number): number {
  const number = Number(text)
  if (text.trim() !== '' && number >= min && number <= max) return number
  throw new Error(`${name} must be a number from ${min} to ${max}, not ${text}`)
}

function printFaults(fitting: readonly Fault[]): void {
  const lines = Object.entries(actions).map(([name, does]) => `  ${name.padEnd(8)} ${does}`)
  process.stdout.write(`faults: ${fitting.map(nameOf).join(', ')}\n${lines.join('\n')}\n`)
}

await main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
})
