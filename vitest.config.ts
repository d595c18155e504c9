import { defineConfig, type TestProjectConfiguration } from 'vitest/config'
import { type Project, testFiles } from './infra/testing/projects.ts'

const files = testFiles()

const project = (name: Project, options: object = {}): TestProjectConfiguration => ({
  // A test that loads the service anew, as another process would, gets another driver with it: the service changes what it loads.
  test: {
    name,
    include: files[name],
    setupFiles: ['infra/testing/setup.ts'],
    server: { deps: { inline: ['postgres'] } },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    ...options,
  },
})

/** Three projects: infra/testing/projects.ts says which file is in which. */
export default defineConfig({
  test: {
    globalSetup: ['infra/testing/global-setup.ts'],
    // Files run side by side, but the machine's cores also run the engines.
    maxWorkers: 2,
    projects: [
      project('pure', { provide: { enginesUrl: undefined }, isolate: false }),
      project('engines'),
      project('faults'),
    ],
  },
})
