import { upstreamVariableOf } from '../../../infra/router/manifest.ts'
import { SLOW_MS } from '../faults.ts'
import { FUNCTIONS } from './functions.ts'

/** The container of Toxiproxy. Clients reach engines through it, and the router reaches the functions through it. */
const TOXIPROXY = 'toxiproxy'

/** An address of a container, and the port of Toxiproxy that leads to it. */
interface Link {
  service: string
  upstream: string
  port: number
}

const link = (service: string, port: number, own = port): Link => ({
  service,
  upstream: `${service}:${port}`,
  port: own,
})

const FIRST_FUNCTION_PORT = 3001
export const links: readonly Link[] = [
  link('postgres-primary', 5432),
  link('postgres-replica', 5432, 5433),
  link('redis', 6379),
  link('kafka', 9092),
  link('rabbitmq', 5672),
  ...[...new Set(FUNCTIONS)].map((name, index) => link(name, 3000, FIRST_FUNCTION_PORT + index)),
]

/** The part of `docker compose config` that is needed here. */
export interface ComposeConfig {
  services: Record<string, { environment?: Record<string, unknown> }>
}

/**
 * Returns the environments of the services that contain an address behind Toxiproxy, with Toxiproxy's address instead. The router also gets
 * the address of each such function, which it would otherwise find by name.
 */
export function throughToxiproxy({ services }: ComposeConfig): ComposeConfig {
  const changed: ComposeConfig = { services: {} }
  for (const [name, { environment = {} }] of Object.entries(services)) {
    const values = Object.entries(environment).flatMap(([variable, value]) => {
      const other = typeof value === 'string' ? redirected(value) : value
      return other === value ? [] : [[variable, other] as const]
    })
    if (values.length > 0) changed.services[name] = { environment: Object.fromEntries(values) }
  }
  const upstreams = links
    .filter(({ service }) => FUNCTIONS.includes(service))
    .map(({ service, port }) => [upstreamVariableOf(service), `http://${TOXIPROXY}:${port}`])
  changed.services.router = {
    environment: { ...changed.services.router?.environment, ...Object.fromEntries(upstreams) },
  }
  return changed
}

const redirected = (value: string): string =>
  links.reduce(
    (text, { upstream, port }) =>
      text.replace(new RegExp(`(?<![\\w-])${upstream}(?!\\d)`, 'g'), `${TOXIPROXY}:${port}`),
    value,
  )

/** Kafka's clients connect to the address that the broker advertises, so that must be Toxiproxy's. Returns the file's text with that address. */
export function advertisedThroughToxiproxy(properties: string): string {
  const advertised = /^advertised\.listeners=PLAINTEXT:\/\/kafka:9092$/m
  if (!advertised.test(properties)) throw new Error('the broker advertises another address than kafka:9092')
  return properties.replace(advertised, `advertised.listeners=PLAINTEXT://${TOXIPROXY}:9092`)
}

const HOUR_MS = 3_600_000
/** The toxics for each direction of a link: https://github.com/Shopify/toxiproxy#toxics */
const toxics = {
  // Toxiproxy passes on the delayed data at once when the toxic is removed.
  stall: { type: 'latency', attributes: { latency: HOUR_MS } },
  vanish: { type: 'timeout', attributes: { timeout: 0 } },
  slow: { type: 'latency', attributes: { latency: SLOW_MS } },
}
export type NetworkFault = keyof typeof toxics
const DIRECTIONS = ['upstream', 'downstream'] as const

/** Controls the links of a running Toxiproxy through its HTTP API. */
export function createNetwork(apiUrl: string) {
  async function ask(method: string, path: string, body?: object): Promise<void> {
    const response = await fetch(`${apiUrl}${path}`, { method, ...(body && { body: JSON.stringify(body) }) })
    if (!response.ok)
      throw new Error(`Toxiproxy answers ${method} ${path} with ${response.status}: ${await response.text()}`)
    await response.text()
  }
  return {
    /** Opens every link. Throws if one already exists. */
    open: () =>
      ask(
        'POST',
        '/populate',
        links.map(({ service, upstream, port }) => ({
          name: service,
          listen: `0.0.0.0:${port}`,
          upstream,
          enabled: true,
        })),
      ),
    /** Breaks a link. Returns a function that mends it. */
    async breakLink(service: string, fault: NetworkFault): Promise<() => Promise<void>> {
      const proxy = `/proxies/${service}`
      for (const stream of DIRECTIONS) await ask('POST', `${proxy}/toxics`, { name: stream, stream, ...toxics[fault] })
      return async () => {
        if (fault === 'vanish') await ask('POST', proxy, { enabled: false })
        for (const stream of DIRECTIONS) await ask('DELETE', `${proxy}/toxics/${stream}`)
        if (fault === 'vanish') await ask('POST', proxy, { enabled: true })
      }
    },
  }
}
