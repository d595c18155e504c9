import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

/** The bundles of a release other than this one. */
export interface Release {
  /** The name of the release, for a test's title. */
  name: string
  dist: URL
  remove: () => Promise<void>
}

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))
const git = async (...args: string[]) => (await run('git', ['-C', root, ...args])).stdout.trim()

/**
 * Returns the commit of the previous release: the newest tag that is not this commit's own, or, without any tag, the code before the last
 * migration. Undefined if that is not in this clone.
 */
export async function previousCommit(): Promise<string | undefined> {
  const tag = await git('describe', '--tags', '--abbrev=0', '--match', 'v*', 'HEAD^').catch(() => undefined)
  if (tag) return tag
  const added = await git('log', '-1', '--diff-filter=A', '--format=%h', '--', 'shared/database/migrations').catch(
    () => undefined,
  )
  return added && git('rev-parse', '--verify', '--quiet', '--short', `${added}^`).catch(() => undefined)
}

/** Builds functions of a commit of this repository, with the packages of the current commit. */
export async function buildCommit(commit: string, functions: readonly string[]): Promise<Release> {
  return build(commit, functions, async (folder) => {
    const archive = join(folder, 'sources.tar')
    await git('archive', '--output', archive, commit)
    await run('tar', ['-xf', archive, '-C', folder])
  })
}

/** Builds functions of this code with added files and with the replacements of `edits`. Each replaced text must exist. */
export async function buildEdited(
  functions: readonly string[],
  files: Record<string, string>,
  edits: ReadonlyArray<readonly [file: string, from: string, to: string]>,
): Promise<Release> {
  return build('the next release', functions, async (folder) => {
    const sources = ['functions', 'shared', 'infra', 'esbuild.config.ts', 'tsconfig.json', 'package.json']
    for (const source of sources) await cp(join(root, source), join(folder, source), { recursive: true })
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text)
    for (const [file, from, to] of edits) {
      const text = await readFile(join(folder, file), 'utf8')
      if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
      await writeFile(join(folder, file), text.replaceAll(from, to))
    }
  })
}

/** Builds the sources that `fill` writes, without the functions that nobody starts: each would need a bundle, which takes as long as a start. */
async function build(
  name: string,
  functions: readonly string[],
  fill: (folder: string) => Promise<void>,
): Promise<Release> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-release-'))
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    await fill(folder)
    const all = await readdir(join(folder, 'functions'))
    for (const other of all.filter((each) => !functions.includes(each)))
      await rm(join(folder, 'functions', other), { recursive: true })
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
    await run(process.execPath, ['--import', 'tsx', 'esbuild.config.ts'], { cwd: folder, timeout: 120_000 })
    return { name, dist: pathToFileURL(join(folder, 'dist/')), remove }
  } catch (error) {
    await remove()
    throw error
  }
}
