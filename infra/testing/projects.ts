import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

export type Project = 'pure' | 'engines' | 'faults'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Tests that kill, cut and pause things. */
const FAULTS = 'e2e/faults/'
/** Files that request an engine of the run, or start their own. */
const STARTS_ENGINES = /^infra\/(testing\/support\/engines\/engine\.ts$|local\/(engines|postgres)\/)/

/** Matches imports at the start of a line. A string that contains source text has no import there. */
const IMPORT = /^(?:import|export)\b[^'"`;]*?\bfrom '([#.][^']+)'|^import '([#.][^']+)'|\bimport\('([#.][^']+)'\)/gm

/** Files by their `#name`, which imports from other folders use. */
const names: Record<string, string> = JSON.parse(readFileSync(`${root}package.json`, 'utf8')).imports

/** Returns the test files of each project, as paths from the root. */
export function testFiles(): Record<Project, string[]> {
  const files = ['functions', 'shared', 'infra', 'e2e'].flatMap(filesIn).filter((file) => file.endsWith('.test.ts'))
  const of = (project: Project) => files.filter((file) => projectOf(file, importsOf) === project).sort()
  return { pure: of('pure'), engines: of('engines'), faults: of('faults') }
}

const filesIn = (folder: string) =>
  readdirSync(root + folder, { recursive: true, encoding: 'utf8' }).map((file) => normalize(`${folder}/${file}`))

/**
 * Returns the project of a test file: faults by its folder; engines if its direct or indirect imports request or start an engine; else
 * pure.
 */
export function projectOf(file: string, importsOf: (file: string) => readonly string[]): Project {
  if (file.startsWith(FAULTS)) return 'faults'
  const reached = new Set([file])
  for (const reaching of reached) {
    if (STARTS_ENGINES.test(reaching)) return 'engines'
    for (const imported of importsOf(reaching)) reached.add(imported)
  }
  return 'pure'
}

const known = new Map<string, string[]>()

function importsOf(file: string): string[] {
  // A string in a test may contain source text with an import of a file that does not exist.
  const imported =
    known.get(file) ?? (existsSync(root + file) ? importsIn(file, readFileSync(root + file, 'utf8')) : [])
  known.set(file, imported)
  return imported
}

/** Returns the files of this repository that `source`, the text of `file`, imports. */
export function importsIn(file: string, source: string): string[] {
  return [...source.matchAll(IMPORT)].map(([, from, effect, dynamic]) => {
    const name = from ?? effect ?? dynamic ?? ''
    return name.startsWith('#') ? (names[name] ?? '').slice(2) : normalize(`${dirname(file)}/${name}`)
  })
}
