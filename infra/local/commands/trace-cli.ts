import { environment } from '#config'
import type { KeptTrace } from '../observe/store.ts'
import { waterfall } from '../observe/waterfall.ts'
import { readSettings } from '../settings.ts'
import { readStackFile } from '../stack-file.ts'
import { runCommand, say } from './operator-command.ts'

const USAGE = `npm run trace -- ID

Draws a trace of the stack that npm start -- --observe has running, with its lines of the log, and the traces that it is linked with. ID
is the trace's, or a Request-Id that an answer had. The last 1,000 traces are kept.
`

runCommand(USAGE, {}, ({ command: id, ids }) => {
  if (ids.length > 0) throw new Error('Say which: one id.')
  return () => show(id)
})

async function show(id: string): Promise<void> {
  const { dataDir } = readSettings(environment(), { usesKey: false })
  const stack = await readStackFile(dataDir)
  if (!stack?.tracesUrl) throw new Error('No stack that keeps traces runs here: start one with npm start -- --observe.')
  const response = await fetch(`${stack.tracesUrl}/?${new URLSearchParams({ id })}`)
  if (!response.ok) throw new Error(`There is no trace or request ${id}: it may be older than the last 1,000.`)
  for (const trace of (await response.json()) as KeptTrace[]) say(waterfall(trace))
}
