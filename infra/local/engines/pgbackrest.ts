import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { exists } from './debian.ts'

const run = promisify(execFile)

/** The first version that supports PostgreSQL 18. */
const VERSION_MIN = '2.57'
/** A Debian release with such a version. Its packages are unpacked with all their dependencies, including the C library, and not installed. */
const SUITE = 'forky'
/** Not in a home folder: the servers run the program to archive, and their account may not enter root's home folder. */
const FOLDER = '/var/cache/stock-management-service/pgbackrest'
/** 34 MB: long enough for a very slow mirror. */
const FETCH_MAX_MS = 300_000

const LIBRARIES: Partial<Record<NodeJS.Architecture, string>> = {
  x64: 'x86_64-linux-gnu/ld-linux-x86-64.so.2',
  arm64: 'aarch64-linux-gnu/ld-linux-aarch64.so.1',
}

/**
 * Returns the program pgbackrest: the one in PATH if it is new enough, or else that of a later Debian, which is fetched once if this is
 * root on Debian. Otherwise throws an error that says what to do.
 */
export async function ensurePgBackRest(progress: (line: string) => void): Promise<string> {
  const own = join(FOLDER, 'pgbackrest')
  for (const program of ['pgbackrest', own]) if (await isNewEnough(program)) return program
  const loader = LIBRARIES[process.arch]
  if (process.getuid?.() === 0 && loader && (await exists('/usr/bin/apt-get')))
    await fetchInto(FOLDER, loader, progress)
  if (await isNewEnough(own)) return own
  throw new Error(`there is no pgBackRest ${VERSION_MIN} or newer: install it (apt-get install pgbackrest)`)
}

async function isNewEnough(program: string): Promise<boolean> {
  const { stdout } = await run(program, ['version']).catch(() => ({ stdout: '' }))
  const [, major = 0, minor = 0] = /pgBackRest (\d+)\.(\d+)/.exec(stdout) ?? []
  const [leastMajor = 0, leastMinor = 0] = VERSION_MIN.split('.').map(Number)
  return Number(major) > leastMajor || (Number(major) === leastMajor && Number(minor) >= leastMinor)
}

/** Fetches into a temporary folder beside `folder` and then renames it, so that an incomplete folder is never taken for the program. */
async function fetchInto(folder: string, loader: string, progress: (line: string) => void): Promise<void> {
  progress(`fetching pgBackRest from Debian ${SUITE} (34 MB)`)
  await mkdir(join(folder, '..'), { recursive: true })
  const unfinished = await mkdtemp(`${folder}-unfinished-`)
  try {
    await chmod(unfinished, 0o755)
    for (const deb of await download(unfinished)) await run('dpkg-deb', ['-x', deb, unfinished])
    await rm(join(unfinished, 'apt'), { recursive: true })
    const libraries = `${folder}/usr/lib/${loader}`
    // pgbackrest starts itself again by the name that it was started with. --argv0 makes that the name of this script.
    const script = `#!/bin/sh\nexec ${libraries} --argv0 "$0" --library-path ${join(libraries, '..')} ${folder}/usr/bin/pgbackrest "$@"\n`
    await writeFile(join(unfinished, 'pgbackrest'), script, { mode: 0o755 })
    await rm(folder, { recursive: true, force: true })
    await rename(unfinished, folder)
  } catch (error) {
    // Another run may have finished first with the same program.
    if (!(await isNewEnough(join(folder, 'pgbackrest'))))
      throw new Error(`pgBackRest could not be fetched: ${(error as Error).message}`)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

/** Fetches the files of the packages and their dependencies. This apt knows only the later Debian, and assumes that nothing is installed. */
async function download(folder: string): Promise<string[]> {
  const apt = join(folder, 'apt')
  await mkdir(join(apt, 'lists/partial'), { recursive: true })
  await mkdir(join(apt, 'cache/archives/partial'), { recursive: true })
  await writeFile(join(apt, 'status'), '')
  const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${await mirror()} ${SUITE} main\n`
  await writeFile(join(apt, 'sources.list'), source)
  const settings = [
    `Dir::Etc::sourcelist "${apt}/sources.list";`,
    'Dir::Etc::sourceparts "/dev/null";',
    `Dir::State::lists "${apt}/lists";`,
    `Dir::State::status "${apt}/status";`,
    `Dir::Cache "${apt}/cache";`,
    'Acquire::Languages "none";',
    'APT::Sandbox::User "root";',
  ]
  await writeFile(join(apt, 'apt.conf'), `${settings.join('\n')}\n`)
  const options = { env: { ...process.env, APT_CONFIG: join(apt, 'apt.conf') }, timeout: FETCH_MAX_MS }
  await run('apt-get', ['-qq', 'update'], options)
  const install = ['-qq', '--yes', '--no-install-recommends', '--download-only', 'install', 'pgbackrest']
  await run('apt-get', install, options)
  const archives = join(apt, 'cache/archives')
  const isNeeded = (name: string) => /^(lib|pgbackrest).*\.deb$/.test(name)
  return (await readdir(archives)).filter(isNeeded).map((name) => join(archives, name))
}

/** The mirror that this machine's apt uses. */
async function mirror(): Promise<string> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)'])
  const [first] = stdout.split('\n').filter((line) => line !== '' && !line.includes('security'))
  if (!first) throw new Error('apt has no source to fetch from')
  return first
}
