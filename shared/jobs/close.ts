import { closeDispatcher } from './dispatch.ts'
import { forgetSettings } from './settings.ts'

/** Closes what is open to the broker, but for workers, which close their own. A later call opens it anew, with the settings of then. */
export async function closeJobs(): Promise<void> {
  forgetSettings()
  await closeDispatcher()
}
