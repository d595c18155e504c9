import { execFile } from 'node:child_process'
import { access, rm, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Debian's package lists and a package with its dependencies are some dozens of megabytes: long enough for a very slow mirror. */
const INSTALL_MAX_MS = 300_000
/** Another installation may be in progress. */
const LOCK_MAX_SECONDS = 120

/** Decides, if it exists, whether a package may start its service: https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt */
const POLICY_FILE = '/usr/sbin/policy-rc.d'
const DENY_ALL = '#!/bin/sh\nexit 101\n'

/** Only one apt-get runs at a time: a second one would find the lists locked. */
let installing: Promise<void> = Promise.resolve()
/** Whether this process has fetched the package lists. Once is enough: it takes seconds. */
let hasLists = false

/**
 * Installs Debian's packages if this is root on Debian, and does nothing elsewhere: callers check again afterwards. Starts none of
 * their services, and upgrades no installed package, since it may be in use. Throws if apt-get fails.
 */
export function installPackages(names: string[], progress: (line: string) => void): Promise<void> {
  const done = installing.then(() => install(names, progress))
  installing = done.catch(() => {})
  return done
}

async function install(names: string[], progress: (line: string) => void): Promise<void> {
  if (process.getuid?.() !== 0 || !(await succeeds('apt-get', ['--version']))) return
  const packages = names.join(', ')
  progress(`installing ${packages} with apt-get`)
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: INSTALL_MAX_MS }
  const lock = ['-o', `DPkg::Lock::Timeout=${LOCK_MAX_SECONDS}`]
  const command = ['install', '--yes', '--no-install-recommends', '--no-upgrade', ...lock]
  try {
    if (!hasLists) await run('apt-get', ['update'], options)
    hasLists = true
    await withoutServices(() => run('apt-get', [...command, ...names], options))
  } catch (error) {
    throw new Error(`${packages} could not be installed: ${(error as Error).message}`)
  }
}

/** Runs `work` while packages may not start services. An existing policy belongs to the user, and stays. */
async function withoutServices(work: () => Promise<unknown>): Promise<void> {
  const isOurs = await writeFile(POLICY_FILE, DENY_ALL, { mode: 0o755, flag: 'wx' }).then(
    () => true,
    () => false,
  )
  try {
    await work()
  } finally {
    if (isOurs) await rm(POLICY_FILE, { force: true })
  }
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

async function succeeds(command: string, args: string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  )
}
