import { upstreamVariableOf } from '../../../infra/router/manifest.ts'
import { SLOW_MS } from '../faults.ts'
import { FUNCTIONS } from './functions.ts'

/** The container of Toxiproxy, through which clients find engines, and the router the functions. */
const TOXIPROXY = 'toxiproxy'

/** An address of a container, and the port of Toxiproxy's that leads there. */
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

/** Of `docker compose config`, what matters here. */
export interface ComposeConfig {
  services: Record<string, { environment?: Record<string, unknown> }>
}

/**
 * The environments of the services that are told of an address which Toxiproxy stands before: they get Toxiproxy's. The router is told
 * where each such function is, which it would else find by its name.
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

/** Kafka's clients connect to where the broker says it is, so it has to say Toxiproxy's. Gives the file's text with that. */
export function advertisedThroughToxiproxy(properties: string): string {
  const advertised = /^advertised\.listeners=PLAINTEXT:\/\/kafka:9092$/m
  if (!advertised.test(properties)) throw new Error('the broker advertises another address than kafka:9092')
  return properties.replace(advertised, `advertised.listeners=PLAINTEXT://${TOXIPROXY}:9092`)
}

const HOUR_MS = 3_600_000
/** What Toxiproxy does to each direction of a link: https://github.com/Shopify/toxiproxy#toxics */
const toxics = {
  // What it has held back it passes on at once when it is told to stop.
  stall: { type: 'latency', attributes: { latency: HOUR_MS } },
  vanish: { type: 'timeout', attributes: { timeout: 0 } },
  slow: { type: 'latency', attributes: { latency: SLOW_MS } },
}
export type NetworkFault = keyof typeof toxics
const DIRECTIONS = ['upstream', 'downstream'] as const

/** The links of a running Toxiproxy, by its HTTP API. */
export function createNetwork(apiUrl: string) {
  async function ask(method: string, path: string, body?: object): Promise<void> {
    const response = await fetch(`${apiUrl}${path}`, { method, ...(body && { body: JSON.stringify(body) }) })
    if (!response.ok)
      throw new Error(`Toxiproxy answers ${method} ${path} with ${response.status}: ${await response.text()}`)
    await response.text()
  }
  return {
    /** Opens every link. Throws if one is there already. */
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
    /** What it gives mends the link again. */
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
