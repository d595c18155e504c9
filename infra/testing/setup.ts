import { afterAll, vi } from 'vitest'
import { shutDown } from '#async'
import { overrideEnvironment } from '#config'

// A test file has no database, whatever the environment says, until it imports `#testing`.
overrideEnvironment({ DATABASE_URL: undefined, DATABASE_REPLICA_URL: undefined, LOG_LEVEL: 'silent' })

/** What a test waits for may take a loaded machine longer than the second that vitest gives it. vitest.config.ts says the same of expect.poll. */
const WAIT_MAX_MS = 10_000
const { waitFor } = vi
// Files that share a process share this object.
if (waitFor.name !== 'waitLonger') {
  vi.waitFor = function waitLonger(check, options) {
    return waitFor(check, typeof options === 'number' ? options : { timeout: WAIT_MAX_MS, ...options })
  }
}

afterAll(shutDown)
