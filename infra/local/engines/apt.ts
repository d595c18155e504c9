import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Debian's package lists and the packages are some dozens of megabytes: this is for a very slow mirror. */
const INSTALL_MAX_MS = 300_000

/** Installs Debian's packages where this is root on Debian, and does nothing elsewhere. Throws if it does not work. */
export async function installDebianPackages(names: string[], progress: (line: string) => void): Promise<void> {
  const isDebian = () =>
    run('apt-get', ['--version']).then(
      () => true,
      () => false,
    )
  if (process.getuid?.() !== 0 || !(await isDebian())) return
  progress(`installing ${names.join(' and ')} with apt-get`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  try {
    await run('apt-get', ['update'], { env, timeout: INSTALL_MAX_MS })
    const install = ['install', '--yes', '--no-install-recommends', ...names]
    await run('apt-get', install, { env, timeout: INSTALL_MAX_MS })
  } catch (error) {
    throw new Error(`${names.join(' and ')} could not be installed: ${(error as Error).message}`)
  }
}
