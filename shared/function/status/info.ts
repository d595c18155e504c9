import { gauge } from '#telemetry'
import { declaredFunctions } from '../declared.ts'

let bundleVersion = ''

const info = gauge(
  'function_info',
  'Always 1, with what a function is: its route, or the kind of its trigger, and the content hash of its bundle.',
  ['function', 'route', 'version'],
  () => {
    for (const { name, trigger } of declaredFunctions()) {
      const route = trigger.kind === 'http' ? `${trigger.method} ${trigger.path}` : trigger.kind
      info.set({ function: name, route, version: bundleVersion }, 1)
    }
  },
)
const start = gauge('function_start_seconds', 'Time from the start of a process until its function listened.', [
  'function',
])

/** Makes the metrics report that a function's process listens from now on. `version` is null if the function runs from source. */
export function publishStart(name: string, version: string | null): void {
  bundleVersion = version ?? ''
  start.set({ function: name }, performance.now() / 1000)
}
