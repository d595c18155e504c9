import { defineConfig } from 'vitest/config'

/** For `npm run test:clients`. The generators come from their registries, which takes minutes the first time. */
export default defineConfig({
  test: {
    include: ['e2e/clients/*.scenario.ts'],
    fileParallelism: false,
    reporters: ['verbose'],
    testTimeout: 15 * 60_000,
    hookTimeout: 3 * 60_000,
  },
})
