import { defineConfig, type TestProjectConfiguration } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { type Project, testFiles } from './infra/testing/projects.ts'
import { useScratchFolder } from './infra/testing/scratch-folder.ts'

useScratchFolder()

const files = testFiles()

const project = (name: Project, options: object = {}): TestProjectConfiguration => ({
  test: {
    name,
    include: files[name],
    setupFiles: ['infra/testing/setup.ts'],
    // A test that loads the service anew, like another process, also gets a new driver: the service modifies the driver that it loads.
    server: { deps: { inline: ['postgres'] } },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
    ...options,
  },
})

const projects: readonly string[] = ['faults', 'engines', 'pure'] satisfies Project[]

/** Runs the longest files first, so that no worker is left alone with one at the end. */
class LongestFirst extends BaseSequencer {
  override async sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ project: { name } }: TestSpecification) => projects.indexOf(name)
    return (await super.sort(specifications)).sort((a, b) => rank(a) - rank(b))
  }
}

/** Three projects: infra/testing/projects.ts says which file is in which. */
export default defineConfig({
  test: {
    globalSetup: ['infra/testing/global-setup.ts'],
    // More workers than cores: tests that kill, cut and pause things spend most of their time waiting for recovery.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    projects: [
      project('pure', { provide: { enginesUrl: undefined }, isolate: false }),
      project('engines', { isolate: false, setupFiles: ['infra/testing/setup.ts', 'infra/testing/fresh-modules.ts'] }),
      // Recovery from a kill takes several times as long while three other files are running.
      project('faults', { testTimeout: 90_000, hookTimeout: 90_000 }),
    ],
  },
})
