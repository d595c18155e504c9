import { defineConfig } from 'vitest/config'

/** `npm run test:compose`: stories from nothing to nothing. Each step needs the one before, so the first failure ends the run. */
export default defineConfig({
  test: {
    include: ['e2e/compose/*.scenario.ts'],
    bail: 1,
    fileParallelism: false,
    reporters: ['verbose'],
    testTimeout: 20 * 60_000,
    hookTimeout: 3 * 60_000,
  },
})
