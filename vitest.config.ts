import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{functions,shared,infra,e2e}/**/*.test.ts'],
    globalSetup: ['infra/testing/global-setup.ts'],
    setupFiles: ['infra/testing/database-per-file.ts'],
    // Files run side by side, but the machine's cores also run PostgreSQL.
    maxWorkers: 2,
    // A test that loads the service anew, as another process would, gets another driver with it: the service changes what it loads.
    server: { deps: { inline: ['postgres'] } },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
