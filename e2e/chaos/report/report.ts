import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { quantile } from '../../bench/load/statistics.ts'
import { type Attempt, type Finding, isRefused, type Truth } from '../checks/history.ts'
import { seconds } from '../plan.ts'
import type { Outcome } from '../rounds.ts'
import type { Target } from '../targets/target.ts'
import { drawRecovery, drawTimeline } from './charts.ts'

export interface Results {
  target: Target
  seed: number
  minutes: number
  outcomes: readonly Outcome[]
  attempts: readonly Attempt[]
  findings: readonly Finding[]
  /** Undefined if it could not be read any more. */
  truth: Truth | undefined
}

const FINDINGS_SHOWN_MAX = 40

/** Writes report.json, report.md, two charts and the processes' log into a folder. Returns the text for the terminal. */
export async function writeReport(results: Results, folder: string): Promise<string> {
  const { target, seed, minutes, outcomes, attempts, findings, truth } = results
  const answers: Record<string, number> = {}
  for (const { told } of attempts) answers[told] = 1 + (answers[told] ?? 0)
  const good = attempts.filter((attempt) => !isRefused(attempt))
  const times = good.map(({ startedAt, endedAt }) => endedAt - startedAt).sort((a, b) => a - b)
  const summary = {
    target: target.name,
    seed,
    minutes,
    rounds: outcomes.length,
    requests: attempts.length,
    answers,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    reservations: truth?.reservations.length ?? 0,
    movements: [...(truth?.movements.values() ?? [])].reduce((sum, rows) => sum + rows.length, 0),
    events: [...(truth?.versions.values() ?? [])].reduce((sum, last) => sum + last, 0),
  }
  const title = `Chaos: seed ${seed}, ${minutes} minutes, on ${target.name}`
  const markdown = [
    `# ${title}\n`,
    `${summary.requests} requests, ${summary.reservations} reservations, ${summary.movements} movements, ${summary.events} events delivered; ` +
      `half of the answers within ${summary.p50Ms} ms, 99 % within ${summary.p99Ms} ms. ` +
      `**${findings.length === 0 ? 'No promise was broken' : `${findings.length} findings`}.**\n`,
    '![answers a second](timeline.svg)\n',
    '![recovery](recovery.svg)\n',
    '| answer | times |\n|---|---|',
    ...Object.entries(answers).map(([told, times]) => `| ${told} | ${times} |`),
    '\n| round | faults | hit | as before after | bound | sent again |\n|---|---|---|---|---|---|',
    ...outcomes.map(rowOf),
    ...(findings.length > 0 ? ['\n## Findings\n'] : []),
    ...findings.map(({ promise, what, at }) => `- ${new Date(at).toISOString()} *${promise}*: ${what}`),
  ]
  const files = {
    'report.json': `${JSON.stringify({ ...summary, outcomes, findings }, null, 2)}\n`,
    'report.md': `${markdown.join('\n')}\n`,
    'timeline.svg': drawTimeline(attempts, outcomes),
    'recovery.svg': drawRecovery(outcomes),
    'processes.log': await target.log(),
  }
  await mkdir(folder, { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const shown = findings.slice(0, FINDINGS_SHOWN_MAX).map(({ promise, what }) => `  ${promise}: ${what}\n`)
  const told = Object.entries(answers).map(([name, times]) => `${times} × ${name}`)
  return [
    `${summary.requests} requests: ${told.join(', ')}\n`,
    `${outcomes.length} rounds, ${summary.reservations} reservations, ${summary.movements} movements, ${summary.events} events\n`,
    `${findings.length === 0 ? 'no promise was broken' : `${findings.length} findings:`}\n`,
    ...shown,
    `report: ${join(folder, 'report.md')}\n`,
  ].join('')
}

function rowOf({ number, strikes, recoveredInMs, recoversWithinMs, refused }: Outcome): string {
  const names = strikes.map(({ name, from, to }) => `${name}${to - from > 1_000 ? ` (${seconds(to - from)})` : ''}`)
  const hit = strikes.map(({ hit }) => hit)
  return `| ${number} | ${names.join(' + ')} | ${hit.join(', ')} | ${seconds(recoveredInMs)} | ${seconds(recoversWithinMs)} | ${refused} |`
}
