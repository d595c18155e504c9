import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PatroniPrograms } from '../../../infra/local/engines/patroni.ts'
import { freePort } from '../../../infra/local/ports.ts'
import { type Connection, withConnection } from '../../../infra/local/postgres/sql.ts'
import { signalAll } from '../../../infra/local/processes.ts'
import { waitUntil } from '../../../infra/local/waits.ts'

/** Three PostgreSQL servers that Patroni and one etcd run as a primary and two replicas, one of them synchronous. */
export interface PatroniCluster {
  /** Returns a URL that names all three servers, for the superuser. */
  url: (database: string) => string
  /** Runs statements on the leader, as the superuser. */
  onLeader: <Result>(work: (sql: Connection) => Promise<Result>) => Promise<Result>
  /** Sends SIGKILL to the leader's Patroni and all of its PostgreSQL, as if its machine was lost. Returns its name. */
  killLeader: () => Promise<string>
  /** Starts a killed member again, and waits until all three work as at the beginning. */
  startAgain: (name: string) => Promise<void>
  stop: () => Promise<void>
}

interface Member {
  name: string
  port: number
  restPort: number
  process?: ChildProcess | undefined
}

interface MemberState {
  name: string
  role: string
  state: string
}

/** Patroni's minimum: the lock of a lost leader expires after this time. */
const TTL_SECONDS = 20
const SETTLED_MAX_MS = 120_000
/** PostgreSQL refuses to run as root. */
const NOBODY = 65_534
const asRoot = process.getuid?.() === 0
const account = asRoot ? { uid: NOBODY, gid: NOBODY } : {}

export async function startPatroni(programs: PatroniPrograms): Promise<PatroniCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-patroni-'))
  const password = randomBytes(16).toString('hex')
  const [etcdPort, peerPort] = [await freePort(), await freePort()]
  const members: Member[] = []
  for (const name of ['p0', 'p1', 'p2']) members.push({ name, port: await freePort(), restPort: await freePort() })
  await chmod(folder, 0o755)
  if (asRoot) await chown(folder, NOBODY, NOBODY)

  const launch = (name: string, file: string, args: string[]) => {
    const log = openSync(join(folder, `${name}.log`), 'a')
    const env = { PATH: `${programs.postgresFolder}:${process.env.PATH}`, LC_ALL: 'C.UTF-8', HOME: folder }
    const child = spawn(file, args, { ...account, env, cwd: folder, stdio: ['ignore', log, log] })
    closeSync(log)
    return child
  }
  const launchMember = (member: Member) => {
    member.process = launch(member.name, programs.patroni, [join(folder, `${member.name}.json`)])
  }
  const states = () => statesBy(members)
  const leader = async () => {
    const all = await states()
    const name = all.find(({ role }) => role === 'leader')?.name
    const member = members.find((each) => each.name === name)
    if (!member) throw new Error(`there is no leader: ${JSON.stringify(all)}`)
    return member
  }
  const tail = async (name: string) =>
    (await readFile(join(folder, `${name}.log`), 'utf8').catch(() => '')).slice(-2_000)
  const settle = async () => {
    if (await waitUntil(async () => isSettled(await states()), SETTLED_MAX_MS, 200)) return
    throw new Error(`the three members did not settle: ${JSON.stringify(await states())}\n${await tail('p0')}`)
  }
  const postmasterOf = async ({ name }: Member) => {
    const file = await readFile(join(folder, name, 'postmaster.pid'), 'utf8').catch(() => '')
    return Number(file.split('\n')[0] ?? '') || undefined
  }
  const killMember = async (member: Member) => {
    const postmaster = await postmasterOf(member)
    signalAll(
      [member.process?.pid, postmaster, ...childrenOf(postmaster)].filter((pid) => pid !== undefined),
      'SIGKILL',
    )
    if (member.process && member.process.exitCode === null && member.process.signalCode === null)
      await once(member.process, 'exit')
    member.process = undefined
  }

  for (const member of members) await writeConfiguration(folder, member, { etcdPort, password, programs })
  const etcd = launch('etcd', programs.etcd, etcdArguments(folder, etcdPort, peerPort))
  const stop = async () => {
    for (const member of members) await killMember(member)
    if (etcd.exitCode === null && etcd.kill('SIGKILL')) await once(etcd, 'exit')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    for (const member of members) launchMember(member)
    await settle()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    url: (database) =>
      `postgres://postgres:${password}@${members.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${database}`,
    onLeader: async (work) => {
      const { port } = await leader()
      return withConnection(`postgres://postgres:${password}@127.0.0.1:${port}/postgres`, work)
    },
    async killLeader() {
      const member = await leader()
      await killMember(member)
      return member.name
    },
    async startAgain(name) {
      for (const member of members.filter((each) => each.name === name)) launchMember(member)
      await settle()
    },
    stop,
  }
}

function childrenOf(pid: number | undefined): number[] {
  if (pid === undefined) return []
  try {
    return execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(/\s+/)
      .map(Number)
  } catch {
    // The process has no children.
    return []
  }
}

/** Returns the states of all three members, from the first member that answers. */
async function statesBy(members: readonly Member[]): Promise<MemberState[]> {
  for (const { restPort } of members) {
    const answer = await fetch(`http://127.0.0.1:${restPort}/cluster`, { signal: AbortSignal.timeout(2_000) }).catch(
      () => undefined,
    )
    if (answer?.ok) return ((await answer.json()) as { members: MemberState[] }).members
  }
  return []
}

const isSettled = (states: MemberState[]) =>
  states.length === 3 &&
  states.filter(({ role, state }) => role === 'leader' && state === 'running').length === 1 &&
  states.some(({ role }) => role === 'sync_standby') &&
  states.filter(({ role, state }) => role !== 'leader' && ['running', 'streaming'].includes(state)).length === 2

function etcdArguments(folder: string, port: number, peerPort: number): string[] {
  const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`]
  return [
    ...['--data-dir', join(folder, 'etcd'), '--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
  ]
}

interface Common {
  etcdPort: number
  password: string
  programs: PatroniPrograms
}

/** Writes the configuration described at https://patroni.readthedocs.io/en/latest/yaml_configuration.html. JSON is valid YAML. */
async function writeConfiguration(folder: string, { name, port, restPort }: Member, common: Common): Promise<void> {
  const { etcdPort, password, programs } = common
  const user = (username: string) => ({ username, password })
  const rest = `127.0.0.1:${restPort}`
  const configuration = {
    scope: 'stock',
    name,
    restapi: { listen: rest, connect_address: rest },
    etcd3: { host: `127.0.0.1:${etcdPort}` },
    bootstrap: {
      dcs: {
        ttl: TTL_SECONDS,
        loop_wait: 2,
        retry_timeout: 3,
        maximum_lag_on_failover: 1024 * 1024,
        primary_start_timeout: 0,
        synchronous_mode: true,
        postgresql: {
          use_pg_rewind: true,
          use_slots: true,
          parameters: { max_connections: 100, fsync: 'off', shared_buffers: '32MB', wal_log_hints: 'on' },
        },
      },
      initdb: [{ encoding: 'UTF8' }, { locale: 'C' }],
    },
    postgresql: {
      listen: `127.0.0.1:${port}`,
      connect_address: `127.0.0.1:${port}`,
      data_dir: join(folder, name),
      bin_dir: programs.postgresFolder,
      pgpass: join(folder, `${name}.pgpass`),
      parameters: { unix_socket_directories: folder },
      pg_hba: [
        'local all all trust',
        'host replication replicator 127.0.0.1/32 scram-sha-256',
        'host all all 127.0.0.1/32 scram-sha-256',
      ],
      authentication: { superuser: user('postgres'), replication: user('replicator'), rewind: user('rewinder') },
    },
    watchdog: { mode: 'off' },
  }
  const file = join(folder, `${name}.json`)
  await mkdir(join(folder, name), { mode: 0o700 })
  await writeFile(file, JSON.stringify(configuration, null, 2), { mode: 0o600 })
  if (!asRoot) return
  await chown(file, NOBODY, NOBODY)
  await chown(join(folder, name), NOBODY, NOBODY)
}
