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
    // A test that loads the service anew, as another process would, gets another driver with it: the service changes what it loads.
    server: { deps: { inline: ['postgres'] } },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
    ...options,
  },
})

const projects: readonly string[] = ['faults', 'engines', 'pure'] satisfies Project[]

/** What takes longest begins first, so that no worker is left alone with it at the end. */
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
    // More than there are cores: what kills, cuts and pauses things waits for them to come back most of its time.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    projects: [
      project('pure', { provide: { enginesUrl: undefined }, isolate: false }),
      project('engines', { isolate: false, setupFiles: ['infra/testing/setup.ts', 'infra/testing/fresh-modules.ts'] }),
      // What is killed takes several times as long to come back while three other files are at work.
      project('faults', { testTimeout: 90_000, hookTimeout: 90_000 }),
    ],
  },
})
