import { afterAll, vi } from 'vitest'

// The next file of this worker gets modules of its own, and so a database of its own; only packages stay loaded, which takes half as long
// as a new process does.
afterAll(() => {
  vi.resetModules()
})
