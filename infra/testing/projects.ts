import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

export type Project = 'pure' | 'engines' | 'faults'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What kills, cuts and pauses things. */
const FAULTS = 'e2e/faults/'
/** What asks for an engine of the run, or starts one of its own. */
const STARTS_ENGINES = /^infra\/(testing\/support\/engines\/engine\.ts$|local\/(engines|postgres)\/)/

/** At the start of a line, where a string that holds source text has none. */
const IMPORT = /^(?:import|export)\b[^'"`;]*?\bfrom '([#.][^']+)'|^import '([#.][^']+)'|\bimport\('([#.][^']+)'\)/gm

/** By the name that stands for it, where a folder is left. */
const names: Record<string, string> = JSON.parse(readFileSync(`${root}package.json`, 'utf8')).imports

/** The test files of each project, as paths from the root. */
export function testFiles(): Record<Project, string[]> {
  const files = ['functions', 'shared', 'infra', 'e2e'].flatMap(filesIn).filter((file) => file.endsWith('.test.ts'))
  const of = (project: Project) => files.filter((file) => projectOf(file, importsOf) === project).sort()
  return { pure: of('pure'), engines: of('engines'), faults: of('faults') }
}

const filesIn = (folder: string) =>
  readdirSync(root + folder, { recursive: true, encoding: 'utf8' }).map((file) => normalize(`${folder}/${file}`))

/**
 * The one project of a test file: faults by its folder; engines if what it imports, and what that imports in turn, asks for an engine or
 * starts one; else pure.
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
  // A string in a test may hold source text with an import of what is not there.
  const imported =
    known.get(file) ?? (existsSync(root + file) ? importsIn(file, readFileSync(root + file, 'utf8')) : [])
  known.set(file, imported)
  return imported
}

/** The files of this project that `source`, the text of `file`, imports. */
export function importsIn(file: string, source: string): string[] {
  return [...source.matchAll(IMPORT)].map(([, from, effect, dynamic]) => {
    const name = from ?? effect ?? dynamic ?? ''
    return name.startsWith('#') ? (names[name] ?? '').slice(2) : normalize(`${dirname(file)}/${name}`)
  })
}
