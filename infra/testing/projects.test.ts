import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, inject, it } from 'vitest'
import { environment } from '#config'
import { importsIn, projectOf, testFiles } from './projects.ts'

const projects = testFiles()

describe('the projects of the tests', () => {
  it('have every test file once', () => {
    const root = fileURLToPath(new URL('../../', import.meta.url))
    const folders = readdirSync(root, { withFileTypes: true }).filter(
      (entry) => entry.isDirectory() && !/^(\..*|node_modules|dist)$/.test(entry.name),
    )
    const all = folders.flatMap(({ name }) =>
      readdirSync(root + name, { recursive: true }).map((file) => `${name}/${file}`),
    )
    const tests = all.filter((file) => /\.(test|spec)\.\w+$/.test(file))
    expect(Object.values(projects).flat().sort()).toEqual(tests.sort())
  })

  it('are pure, with this file; engines, with what imports #testing; and faults', () => {
    expect(projects.pure).toContain('infra/testing/projects.test.ts')
    expect(projects.engines).toContain('functions/reserve-stock/index.test.ts')
    expect(projects.faults).toContain('e2e/faults/processes/crash.test.ts')
  })

  it('leave a pure file without an engine', () => {
    expect(inject('enginesUrl')).toBeUndefined()
    expect(environment().DATABASE_URL).toBeUndefined()
  })
})

describe('a test file', () => {
  const tree: Record<string, string> = {
    'shared/a.ts': "import { primary } from '#database'",
    'shared/testing/a.ts': "import {\n  sql,\n  call\n} from '#testing'",
    'infra/testing/support/index.ts': "export { sql } from './engines/database.ts'",
    'infra/testing/support/engines/database.ts': "import './database-per-file.ts'",
    'infra/testing/support/engines/database-per-file.ts': "import { engineUrl } from './engine.ts'",
    'infra/testing/support/engines/kafka.ts': "import { engineUrl } from './engine.ts'",
  }
  const projectWith = (source: string, file = 'shared/x.test.ts') =>
    projectOf(file, (path) => importsIn(path, path === file ? source : (tree[path] ?? '')))

  it.each([
    ['pure', "import { a } from './a.ts'"],
    ['pure', 'const text = "import { sql } from \'#testing\'"'],
    ['pure', "import { allFunctions } from '#testing/functions'"],
    ['engines', "import { sql } from '#testing'"],
    ['engines', "import '#testing'"],
    ['engines', "import { kafkaUrl } from '#testing/kafka'"],
    ['engines', "import { a } from './testing/a.ts'"],
    ['engines', "const { a } = await import('./testing/a.ts')"],
    ['engines', "import { startCluster } from '../infra/local/postgres/cluster.ts'"],
  ])('is in %s for %s', (project, source) => {
    expect(projectWith(source)).toBe(project)
  })

  it('is in faults by its folder, whatever it imports', () => {
    expect(projectWith('', 'e2e/faults/x.test.ts')).toBe('faults')
    expect(projectWith("import { sql } from '#testing'", 'e2e/faults/x.test.ts')).toBe('faults')
  })
})
