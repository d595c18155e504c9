import { afterAll, vi } from 'vitest'
import { shutDown } from '#async'
import { overrideEnvironment } from '#config'

// Until a test file imports `#testing`, it has no database, whatever the environment says.
overrideEnvironment({ DATABASE_URL: undefined, DATABASE_REPLICA_URL: undefined, LOG_LEVEL: 'silent' })

/** On a loaded machine, a wait may take longer than vitest's default of one second. vitest.config.ts sets the same limit for expect.poll. */
const WAIT_MAX_MS = 10_000
const { waitFor } = vi
// Files that share a process share this object.
if (waitFor.name !== 'waitLonger') {
  vi.waitFor = function waitLonger(check, options) {
    return waitFor(check, typeof options === 'number' ? options : { timeout: WAIT_MAX_MS, ...options })
  }
}

afterAll(shutDown)
