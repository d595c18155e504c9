import { afterAll, vi } from 'vitest'

// The next file of this worker gets new modules, and so its own database. Only packages stay loaded. That takes half as long as a new
// process.
afterAll(() => {
  vi.resetModules()
})
