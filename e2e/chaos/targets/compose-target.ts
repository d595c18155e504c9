import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from '../../../infra/local/ports.ts'
import { closeLater } from '../../bench/closing.ts'
import { docker, newCompose, pause } from '../../compose/compose.ts'
import { type Action, engineParts, type Part } from '../faults.ts'
import { advertisedThroughToxiproxy, createNetwork, throughToxiproxy } from './compose-network.ts'
import { FUNCTIONS, WORKERS } from './functions.ts'
import { FAKETIME_VOLUME, fakedClock, SKEW_MS, skewedClock } from './skewed-clock.ts'
import type { Mend, Target } from './target.ts'

const servicesOf: Record<Part, readonly string[]> = {
  primary: ['postgres-primary'],
  replica: ['postgres-replica'],
  redis: ['redis'],
  kafka: ['kafka'],
  rabbitmq: ['rabbitmq'],
  router: ['router'],
  function: FUNCTIONS,
  worker: WORKERS,
}

/** The services that are not Node processes. */
const ENGINES: readonly string[] = engineParts.flatMap((part) => servicesOf[part])
const FILES = ['--file', 'docker-compose.yml', '--file', 'e2e/chaos/targets/compose.yml']
/** A path in the container `tools`. */
const fillerOf = (service: string) => `/disks/${service}/filler`
const WAIT = ['--detach', '--wait', '--wait-timeout', '300']

/** Starts docker-compose.yml as a separate project, with a network that can fail. Throws if there is no container engine. */
export async function startCompose(progress: (line: string) => void): Promise<Target> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-chaos-'))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  const properties = join(folder, 'kafka.properties')
  await writeFile(
    properties,
    advertisedThroughToxiproxy(await readFile('infra/docker/kafka/server.properties', 'utf8')),
  )
  const toxiproxyPort = String(await freePort())
  const compose = await newCompose({ SEED: '0', TOXIPROXY_PORT: toxiproxyPort, KAFKA_PROPERTIES: properties })
  const run = (...args: string[]) => compose.run(...FILES, ...args)
  const links = await writeOverride('links', throughToxiproxy(JSON.parse(await run('config', '--format', 'json'))))
  closeLater(() => run('down', '--volumes', '--rmi', 'local', '--remove-orphans', '--timeout', '5'))
  progress('building the images, and starting every container')
  await run('up', ...WAIT, 'toxiproxy')
  const network = createNetwork(`http://127.0.0.1:${toxiproxyPort}`)
  await network.open()
  await run(...links, 'up', '--build', ...WAIT)
  let listen = (_: string) => {}
  const following = spawn('docker', ['logs', '--follow', await idOf('receiver')], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  createInterface({ input: following.stdout }).on('line', (line) => listen(line))
  closeLater(async () => void following.kill())

  /** Writes a compose file, and returns the arguments for it. */
  async function writeOverride(name: string, content: object): Promise<string[]> {
    const file = join(folder, `${name}.json`)
    await writeFile(file, JSON.stringify(content))
    return ['--file', file]
  }

  async function idOf(service: string): Promise<string> {
    return (await run('ps', '--quiet', service)).split('\n')[0] ?? ''
  }

  /** Breaks a service. Returns a function that mends it. */
  async function breakIt(service: string, action: Action): Promise<Mend['mend']> {
    switch (action) {
      case 'stall':
      case 'vanish':
      case 'slow':
        return network.breakLink(service, action)
      case 'lag':
        await setReplayDelay('3s')
        return () => setReplayDelay('0')
      case 'skew': {
        const skewed = ENGINES.includes(service)
          ? { environment: fakedClock(SKEW_MS), volumes: [FAKETIME_VOLUME] }
          : { environment: skewedClock(SKEW_MS) }
        const skew = await writeOverride(`skew-${service}`, { services: { [service]: skewed } })
        await run(...links, ...skew, 'up', '--detach', '--no-deps', service)
        return () => run(...links, 'up', '--detach', '--no-deps', service)
      }
      case 'fill': {
        const tools = await idOf('tools')
        // cat ends with an error once there is no byte left.
        await docker(['exec', tools, 'sh', '-c', `cat /dev/zero > ${fillerOf(service)} || true`])
        return () => docker(['exec', tools, 'rm', fillerOf(service)])
      }
      default:
        return breakContainer(await idOf(service), service, action)
    }
  }

  async function setReplayDelay(delay: string): Promise<void> {
    await compose.sql(`alter system set recovery_min_apply_delay = '${delay}'`, 'postgres-replica')
    await compose.sql('select pg_reload_conf()', 'postgres-replica')
  }

  return {
    name: 'the containers of docker-compose.yml',
    url: compose.url,
    key: compose.key,
    receiverUrl: 'http://receiver:8080/hook',
    onDelivery: (listener) => {
      listen = listener
    },
    async strike(part, action, which) {
      const services = servicesOf[part]
      const service = services[which % services.length] ?? part
      return { hit: service, mend: await breakIt(service, action) }
    },
    failures: [],
    log: () => run('logs', '--no-color', '--timestamps'),
  }
}

async function breakContainer(id: string, service: string, action: Action): Promise<Mend['mend']> {
  switch (action) {
    case 'kill':
      await kill(id)
      return async () => {}
    case 'restart':
      await docker(['restart', id])
      return async () => {}
    case 'pause':
      await pause(id)
      return () => docker(['unpause', id])
    case 'cut': {
      const networks = Object.keys(
        JSON.parse(await docker(['inspect', '--format', '{{json .NetworkSettings.Networks}}', id])),
      )
      for (const network of networks) await docker(['network', 'disconnect', network, id])
      return async () => {
        for (const network of networks) await docker(['network', 'connect', '--alias', service, network, id])
      }
    }
    default:
      throw new Error(`a container can't be struck by ${action}`)
  }
}

/** Kills from outside: after `docker kill`, Docker treats a container as stopped by hand and does not start it again. */
async function kill(id: string): Promise<void> {
  const pid = Number(await docker(['inspect', '--format', '{{.State.Pid}}', id]))
  process.kill(pid, 'SIGKILL')
}
