import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { closeLater } from '../bench/closing.ts'
import { docker, newCompose, pause } from '../compose/compose.ts'
import type { Action, Fault, Part } from './faults.ts'
import { FUNCTIONS, WORKERS } from './functions.ts'
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
/** The others need a proxy, or a program in the image. */
const ACTIONS: readonly Action[] = ['kill', 'restart', 'pause', 'cut', 'fill']
/** Whether containers can be struck so. */
export const fitsCompose = ({ action }: Fault) => ACTIONS.includes(action)

const FILES = ['--file', 'docker-compose.yml', '--file', 'e2e/chaos/compose.yml']
const FILLER = '/var/lib/postgresql/filler'

/** Starts docker-compose.yml as a project of its own. Throws where there is no container engine. */
export async function startCompose(progress: (line: string) => void): Promise<Target> {
  const compose = await newCompose({ SEED: '0' })
  const run = (...args: string[]) => compose.run(...FILES, ...args)
  closeLater(() => run('down', '--volumes', '--rmi', 'local', '--remove-orphans', '--timeout', '5'))
  progress('building the images, and starting every container')
  await run('up', '--build', '--detach', '--wait', '--wait-timeout', '300')
  let listen = (_: string) => {}
  const following = spawn('docker', ['logs', '--follow', await idOf('receiver')], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  createInterface({ input: following.stdout }).on('line', (line) => listen(line))
  closeLater(async () => void following.kill())

  async function idOf(service: string): Promise<string> {
    return (await run('ps', '--quiet', service)).split('\n')[0] ?? ''
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
      return { hit: service, mend: await breakIt(await idOf(service), service, action) }
    },
    failures: [],
    log: () => run('logs', '--no-color', '--timestamps'),
  }
}

async function breakIt(id: string, service: string, action: Action): Promise<Mend['mend']> {
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
    case 'fill':
      // It ends with an error, once there is no byte left.
      await docker(['exec', id, 'sh', '-c', `cat /dev/zero > ${FILLER} || true`])
      return () => docker(['exec', id, 'rm', FILLER]).catch(() => docker(['exec', id, 'rm', '--force', FILLER]))
    default:
      throw new Error(`a container can't be struck by ${action}`)
  }
}

/** From outside: after `docker kill` an engine takes a container for one that was stopped by hand, and does not start it again. */
async function kill(id: string): Promise<void> {
  const pid = Number(await docker(['inspect', '--format', '{{.State.Pid}}', id]))
  process.kill(pid, 'SIGKILL')
}
