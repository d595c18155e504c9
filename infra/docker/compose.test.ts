import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { allFunctions } from '#testing/functions'

const Service = z.object({
  image: z.string().optional(),
  build: z.object({ target: z.string().optional(), args: z.object({ FUNCTION: z.string() }).optional() }).optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.union([z.string(), z.number()])).default({}),
  // A list of networks, or a map with their aliases.
  networks: z
    .union([z.array(z.string()), z.record(z.string(), z.unknown()).transform((named) => Object.keys(named))])
    .default([]),
  ports: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  restart: z.string().optional(),
  read_only: z.boolean().optional(),
  init: z.boolean().optional(),
  cap_drop: z.array(z.string()).default([]),
  mem_limit: z.string().optional(),
  pids_limit: z.number().optional(),
  network_mode: z.string().optional(),
  profiles: z.array(z.string()).default([]),
  privileged: z.undefined().optional(),
  cap_add: z.undefined().optional(),
  pid: z.undefined().optional(),
})
const Compose = z.object({
  services: z.record(z.string(), Service),
  networks: z.record(z.string(), z.object({ internal: z.boolean().default(false) }).nullable()),
})

const fileAt = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8')
const { services, networks } = Compose.parse(
  parse(await fileAt('docker-compose.yml'), { merge: true, maxAliasCount: -1 }),
)
const functions = await allFunctions()
const serviceOf = (name: string) => services[name] ?? expect.fail(`there is no service ${name}`)
const joinedBy = (network: string) => Object.keys(services).filter((name) => serviceOf(name).networks.includes(network))
const isOurs = ({ build }: z.infer<typeof Service>) => build !== undefined

/** The README shows this many processes of one function. */
const SCALE_MAX = 4
/** The functions that also have connections for scans, and those that also have connections for snapshots. */
const SCANNING = ['list-products', 'list-reservations']
const SNAPSHOTTING = ['audit-stock', 'audit-balances', 'process-job']
/** For people, the migration, and the replica’s checks of its slot. */
const CONNECTIONS_FOR_OTHERS = 20

describe('docker-compose.yml', () => {
  it('has a service for each function, which runs that function, and none besides', () => {
    const built = Object.entries(services).flatMap(([name, { build }]) =>
      build?.args ? [[name, build.args.FUNCTION]] : [],
    )
    expect(built.sort()).toEqual(functions.map(({ name }) => [name, name]).sort())
  })

  it('gives the build of the images the examples of which it makes the description', async () => {
    expect(await fileAt('.dockerignore')).not.toContain('event.json')
  })

  it('lets the router reach each function with a route, and the others on a network apart', () => {
    const namesOf = (isRouted: boolean) =>
      functions.filter(({ trigger }) => (trigger.kind === 'http') === isRouted).map(({ name }) => name)
    expect(joinedBy('functions').sort()).toEqual([...namesOf(true), 'router'].sort())
    expect(joinedBy('status').sort()).toEqual([...namesOf(false), 'router'].sort())
  })

  it('gives each function the networks of the engines that its settings name, and those alone', () => {
    for (const { name, trigger } of functions) {
      const { environment, networks: joined } = serviceOf(name)
      const { JOBS_URL, EVENTS_URL, CACHE_URL } = environment
      expect([JOBS_URL, CACHE_URL, environment.DATABASE_URL], name).not.toContain(undefined)
      const followsOrPublishes = trigger.kind === 'stream' || (trigger.kind === 'outbox' && trigger.outbox === 'events')
      const usesLog = followsOrPublishes || name === 'measure-backlog'
      expect(EVENTS_URL !== undefined, name).toBe(usesLog)
      expect(joined.includes('events'), name).toBe(usesLog)
      expect(joined.includes('database'), name).toBe(true)
      // Without a password, the URL only says that there is a broker.
      expect(joined.includes('jobs'), name).toBe(String(JOBS_URL).includes('@'))
      expect(String(JOBS_URL), name).toMatch(/^amqp:/)
    }
  })

  it('has each function connect as a role with no more rights than it needs: the owner migrates, and nobody else', async () => {
    const rolesOf = ({ environment }: z.infer<typeof Service>) =>
      [environment.DATABASE_URL, environment.DATABASE_REPLICA_URL]
        .filter((url) => url !== '')
        .map((url) => /^postgres:\/\/(\w+)(?:\$\{DATABASE_LOGIN:-\})?:/.exec(String(url))?.[1])
    const forKeys = ['create-api-key', 'delete-api-key', 'list-api-keys']
    for (const { name } of functions) {
      const role = forKeys.includes(name) ? 'stock_keys' : 'stock_run'
      expect(rolesOf(serviceOf(name)), name).toEqual([role, role])
    }
    expect(rolesOf(serviceOf('migrate'))).toEqual(['stock'])
    expect(serviceOf('migrate').environment).toMatchObject({
      DATABASE_RUN_ROLE: 'stock_run',
      DATABASE_KEYS_ROLE: 'stock_keys',
    })
    const letIn = /^host +stock +(\S+)/m.exec(await fileAt('infra/docker/postgres/pg_hba.conf'))?.[1]
    expect(letIn).toBe('stock,+stock_run,+stock_keys,stock_monitor')
  })

  it('has room in PostgreSQL for every pool of every process, all full at once', async () => {
    const allowed = Number(
      /^max_connections = (\d+)$/m.exec(await fileAt('infra/docker/postgres/postgresql.conf'))?.[1],
    )
    const pools = functions.map(({ name }) => Number(serviceOf(name).environment.DATABASE_POOL_MAX))
    // To the primary: a pool for writes, a pool for reads, and one connection for keys. To the replica: one pool, one connection for keys,
    // and one that watches its lag. Few functions scan or take snapshots: they have two more connections for scans, four for snapshots.
    const processes = pools.length + SCALE_MAX - 1
    const pooled = pools.reduce((sum, pool) => sum + pool, 0) + (SCALE_MAX - 1) * Math.max(...pools)
    const scans = 2 * (SCANNING.length + SCALE_MAX - 1)
    const toPrimary = 2 * pooled + processes + scans + 4 * SNAPSHOTTING.length
    const toReplica = pooled + 2 * processes + scans
    expect(toPrimary + CONNECTIONS_FOR_OTHERS).toBeLessThanOrEqual(allowed)
    expect(toReplica + CONNECTIONS_FOR_OTHERS).toBeLessThanOrEqual(allowed)
  })

  it('publishes on loopback alone, and without a profile nothing but the router and the pages of RabbitMQ', () => {
    const portsOf = (isWanted: (service: z.infer<typeof Service>) => boolean) =>
      Object.entries(services).flatMap(([name, service]) =>
        isWanted(service) ? service.ports.map((port) => `${name} ${port}`) : [],
      )
    for (const port of portsOf(() => true)) expect(port).toMatch(/ 127\.0\.0\.1:\$\{\w*PORT:-\d+\}:\d+$/)
    expect(portsOf(({ profiles }) => profiles.length === 0)).toEqual([
      `rabbitmq 127.0.0.1:\${RABBITMQ_PORT:-15672}:15672`,
      `router 127.0.0.1:\${PORT:-3000}:3000`,
    ])
    const open = Object.keys(networks).filter((name) => !networks[name]?.internal)
    const published = (isWanted: (service: z.infer<typeof Service>) => boolean) => [
      ...new Set(portsOf(isWanted).map((port) => port.split(' ')[0])),
    ]
    expect(open.map((network) => [network, joinedBy(network)])).toEqual([
      ['clients', ['router']],
      ['pages', ['rabbitmq']],
      ['webhooks', ['process-job']],
      ['dashboards', published(({ profiles }) => profiles.length > 0)],
    ])
  })

  it('has Prometheus reach what it scrapes, and ours the collector, on networks without an engine', () => {
    const on = (network: string) => joinedBy(network).sort()
    const ours = Object.keys(services).filter((name) => isOurs(serviceOf(name)) && name !== 'migrate')
    expect(on('telemetry')).toEqual([...ours, 'otel-collector', 'otel-collector-lite', 'prometheus'].sort())
    // RabbitMQ exposes its own metrics.
    expect(on('exporters')).toEqual(
      [...joinedBy('exporters').filter((name) => name.endsWith('-exporter')), 'prometheus', 'rabbitmq'].sort(),
    )
    for (const name of on('stores')) expect(serviceOf(name).profiles, name).not.toEqual([])
  })

  it('asks the functions and the router for traces and log records only where a profile has a collector', () => {
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = serviceOf('router').environment
    expect(endpoint).toBe(`\${OTEL_EXPORTER_OTLP_ENDPOINT:-\${COMPOSE_PROFILES:+http://otel-collector:4318}}`)
    for (const { name } of functions) {
      expect(serviceOf(name).environment.OTEL_EXPORTER_OTLP_ENDPOINT, name).toBe(endpoint)
    }
  })

  it('gives each profile a collector of the same configuration, and stores of its own', () => {
    const of = (profile: string) => Object.keys(services).filter((name) => serviceOf(name).profiles.includes(profile))
    const both = of('observability').filter((name) => of('observability-lite').includes(name))
    expect(of('observability').filter((name) => !both.includes(name))).toEqual([
      'otel-collector',
      'tempo',
      'loki',
      'grafana',
    ])
    expect(of('observability-lite').filter((name) => !both.includes(name))).toEqual([
      'otel-collector-lite',
      'jaeger',
      'victoria-logs',
    ])
  })

  it('bounds every container, and gives none more rights than it needs', () => {
    for (const [name, service] of Object.entries(services)) {
      const isOneShot = ['secrets', 'migrate'].includes(name)
      expect(service.cap_drop, name).toEqual(['ALL'])
      expect(service.mem_limit, name).toMatch(/^\d+[mg]$/)
      expect(service.pids_limit, name).toBeGreaterThan(0)
      expect(service.init, name).toBe(true)
      expect(service.restart, name).toBe(isOneShot ? 'no' : 'unless-stopped')
      // Our images are named after the project, so that no other project on the machine takes them for its own.
      if (isOurs(service)) expect([service.image, service.read_only], name).toEqual([undefined, true])
      else expect(service.image, name).toMatch(/:v?\d[\w.-]*$/)
    }
  })

  it('has RabbitMQ hold back publishers before it has all the memory of its container', async () => {
    const watermark = /^vm_memory_high_watermark\.absolute = (\d+)MiB$/m.exec(
      await fileAt('infra/docker/rabbitmq/rabbitmq.conf'),
    )
    const limit = /^(\d+)m$/.exec(serviceOf('rabbitmq').mem_limit ?? '')
    expect(Number(watermark?.[1])).toBeLessThan(Number(limit?.[1]) * 0.7)
  })

  it('hands on what a file .env may set for functions, but for where their engines are', async () => {
    const own = [
      'DATABASE_URL',
      'DATABASE_REPLICA_URL',
      'DATABASE_POOL_MAX',
      'CACHE_URL',
      'EVENTS_URL',
      'JOBS_URL',
      'JOBS_QUEUE',
    ]
    const [, section = ''] = (await fileAt('.env.example')).split(/^# --- functions -+$/m)
    const [settings = ''] = section.split(/^# --- /m)
    const names = [...settings.matchAll(/^# ([A-Z_]+)=/gm)].flatMap(([, name = '']) => (own.includes(name) ? [] : name))
    expect(names).toContain('API_KEYS_OWN_RESERVATIONS')
    for (const { name } of functions)
      for (const setting of names)
        expect(serviceOf(name).environment[setting], `${name}: ${setting}`).toMatch(new RegExp(`^\\$\\{${setting}:-`))
  })

  it('starts nothing without its secrets', async () => {
    const text = await fileAt('docker-compose.yml')
    const checked = await fileAt('infra/docker/secrets/check.sh')
    const used = new Set([...text.matchAll(/\$\{([A-Z_]+(?:PASSWORD|KEY))\b/g)].map(([, name]) => name))
    const demanded = new Set([...text.matchAll(/\$\{([A-Z_]+):\?/g)].map(([, name]) => name))
    expect([...demanded].sort()).toEqual([...used].sort())
    for (const name of used) expect(checked, name).toContain(name)
    for (const [name, { network_mode, depends_on, build }] of Object.entries(services)) {
      if (network_mode !== 'none' && !build) expect(Object.keys(depends_on), name).not.toHaveLength(0)
    }
  })
})
