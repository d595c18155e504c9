import { defineConfig } from 'vitest/config'

/** `npm run test:compose`: scenarios from nothing to nothing. Each step needs the previous one, so the first failure ends the run. */
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
