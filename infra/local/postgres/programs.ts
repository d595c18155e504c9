import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Binaries, findBinaries } from './postgres-binaries.ts'

/** PostgreSQL's programs, and the account they run under. */
export interface PostgresPrograms {
  /** Runs a program to its end, for at most two minutes. Throws an error with its output unless it exits with 0. */
  run(program: string, args: string[]): Promise<void>
  /** Starts a postmaster in its own session: Ctrl-C in a terminal must reach only node, which decides the order. */
  serve(args: string[], logDescriptor: number): ChildProcess
  /** Makes the account the owner of a path and of everything below it. */
  own(path: string): Promise<void>
  binaries: Binaries
}

interface Account {
  uid: number
  gid: number
}

/** The user `nobody`, who has this id on every Linux. */
const NOBODY: Account = { uid: 65534, gid: 65534 }

/** Enough output to see why a program failed. */
const OUTPUT_BYTES_MAX = 64 * 1024

/** initdb takes 1 s and a copy of a large data folder tens of seconds; two minutes means that it hangs. */
const RUN_TIMEOUT_MS = 120_000

/** The environment is not inherited, since the user's PGDATA, PGPORT or LC_ALL would change what the servers do. */
const ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' }

/** Finds the account for the data in `dataDir`, and the embedded programs if none are given. If they can't run, throws an error that says what to do. */
export async function findPrograms(dataDir: string, given?: Binaries): Promise<PostgresPrograms> {
  const binaries = given ?? (await findBinaries())
  const account = await accountFor(dataDir)
  const closed = account && (await closedPath([binaries.postgres, dirname(dataDir)], account))
  const prepare = (file: string, args: string[]) => commandAs(account, closed !== undefined, file, args)

  const programs: PostgresPrograms = {
    binaries,
    run: (program, args) => runToEnd(prepare(program, args)),
    serve: (args, logDescriptor) => {
      const { file, args: all, options } = prepare(binaries.postgres, args)
      return spawn(file, all, { ...options, stdio: ['ignore', logDescriptor, logDescriptor] })
    },
    // Not through `prepare`: only root may change a file's owner.
    own: async (path) => {
      if (!account) return
      await runToEnd({ file: 'chown', args: ['-hR', `${account.uid}:${account.gid}`, path], options: PLAIN })
    },
  }
  await checkThatItRuns(programs, closed)
  return programs
}

/**
 * PostgreSQL refuses to run as root. So under root it runs as the owner of the data folder, who must still own it after a
 * `sudo npm start`, or as `nobody` if root owns it. Undefined means this process's own user.
 */
async function accountFor(dataDir: string): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const { uid, gid } = await stat(dataDir)
  return uid === 0 ? NOBODY : { uid, gid }
}

interface Command {
  file: string
  args: string[]
  options: SpawnOptions
}

// Detached: Ctrl-C during initdb must not kill initdb halfway while node still waits for it. Every account may enter the folder `/`.
const PLAIN: SpawnOptions = { env: ENVIRONMENT, cwd: '/', detached: true }

/**
 * Below a folder that only root may enter (such as a clone in `mktemp -d`), the account keeps the one capability needed to pass it.
 * PostgreSQL checks with access(2), which uses the capabilities of a non-root user only under the securebit no_setuid_fixup.
 */
function commandAs(account: Account | undefined, closed: boolean, file: string, args: string[]): Command {
  if (!account) return { file, args, options: PLAIN }
  if (!closed) return { file, args, options: { ...PLAIN, ...account } }
  const identity = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups']
  const capability = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--securebits=+no_setuid_fixup']
  return { file: 'setpriv', args: [...identity, ...capability, '--', file, ...args], options: PLAIN }
}

/** Returns the first of the paths and their parents that the account may not pass, or undefined if it may pass all. */
async function closedPath(paths: string[], account: Account): Promise<string | undefined> {
  for (const path of paths) {
    for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
      const { mode, uid, gid } = await stat(folder)
      const needed = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001
      if (!(mode & needed)) return folder
    }
  }
  return undefined
}

/** Detects in one step all that can be wrong with the programs: musl instead of glibc, a noexec mount, a missing library. */
async function checkThatItRuns(programs: PostgresPrograms, closed: string | undefined): Promise<void> {
  try {
    await programs.run(programs.binaries.postgres, ['--version'])
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    if (closed && reason.includes('setpriv')) {
      throw new Error(
        `PostgreSQL can't run as root, and the account it runs under instead may not enter ${closed}: install setpriv ` +
          `(util-linux), or move to a folder that other users may enter, or start as another user. (${reason})`,
        { cause },
      )
    }
    throw new Error(
      `The embedded PostgreSQL can't run here (it needs glibc 2.27 or newer; Alpine has musl): ${reason}. ` +
        'Set DATABASE_URL to use a server of your own.',
      { cause },
    )
  }
}

function runToEnd({ file, args, options }: Command): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...options, timeout: RUN_TIMEOUT_MS, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-OUTPUT_BYTES_MAX)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(new Error(`${file} ended with ${code ?? signal}: ${output.trim()}`))
    })
  })
}
