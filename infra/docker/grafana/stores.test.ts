import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { dashboardOf } from '../../dashboards/dashboard.ts'
import { boards } from '../../dashboards/index.ts'
import { knownSeries } from '../../dashboards/testing/known-series.ts'
import { seriesIn, syntaxErrors } from '../../dashboards/testing/queries.ts'

// Grafana, Tempo and Loki. No test runs their images, and a misspelt member would be ignored silently or would end the process.

const load = async (path: string): Promise<unknown> =>
  parse(await readFile(new URL(`../../../${path}`, import.meta.url), 'utf8'), { merge: true, maxAliasCount: -1 })

const duration = z.string().regex(/^-?\d+[smh]$/)
const server = z.strictObject({ http_listen_port: z.int() })
const endpoint = z.strictObject({ endpoint: z.string().regex(/^0\.0\.0\.0:\d+$/) })

/** The part of https://grafana.com/docs/tempo/v2.8.x/configuration/ that is used. */
const Tempo = z.strictObject({
  server,
  usage_report: z.strictObject({ reporting_enabled: z.boolean() }),
  distributor: z.strictObject({
    receivers: z.strictObject({ otlp: z.strictObject({ protocols: z.strictObject({ http: endpoint }) }) }),
  }),
  compactor: z.strictObject({ compaction: z.strictObject({ block_retention: duration }) }),
  storage: z.strictObject({
    trace: z.strictObject({
      backend: z.literal('local'),
      local: z.strictObject({ path: z.string() }),
      wal: z.strictObject({ path: z.string() }),
    }),
  }),
})

/** The part of https://grafana.com/docs/loki/v3.5.x/configure/ that is used. */
const Loki = z.strictObject({
  auth_enabled: z.literal(false),
  analytics: z.strictObject({ reporting_enabled: z.boolean() }),
  server,
  common: z.strictObject({
    path_prefix: z.string(),
    replication_factor: z.literal(1),
    ring: z.strictObject({ kvstore: z.strictObject({ store: z.literal('inmemory') }) }),
    storage: z.strictObject({
      filesystem: z.strictObject({ chunks_directory: z.string(), rules_directory: z.string() }),
    }),
  }),
  schema_config: z.strictObject({
    configs: z.array(
      z.strictObject({
        from: z.iso.date(),
        // Structured metadata needs both of these, and the index of this store needs a period of a day.
        store: z.literal('tsdb'),
        schema: z.literal('v13'),
        object_store: z.literal('filesystem'),
        index: z.strictObject({ prefix: z.string(), period: z.literal('24h') }),
      }),
    ),
  }),
  limits_config: z.strictObject({ allow_structured_metadata: z.boolean(), retention_period: duration }),
  // With retention, Loki has to know where it keeps requests to delete.
  compactor: z.strictObject({
    working_directory: z.string(),
    retention_enabled: z.literal(true),
    delete_request_store: z.literal('filesystem'),
  }),
})

const source = { name: z.string(), uid: z.string(), url: z.url(), isDefault: z.boolean().optional() }
const datasourceUid = z.string()

/**
 * The part that is used of https://grafana.com/docs/grafana/v12.2/administration/provisioning/#data-sources, and of the pages on each type:
 * https://grafana.com/docs/grafana/v12.2/datasources/tempo/configure-tempo-data-source/ and its neighbours.
 */
const DataSources = z.strictObject({
  apiVersion: z.literal(1),
  datasources: z.array(
    z.discriminatedUnion('type', [
      z.strictObject({
        ...source,
        type: z.literal('prometheus'),
        jsonData: z.strictObject({
          timeInterval: duration,
          exemplarTraceIdDestinations: z.array(z.strictObject({ name: z.string(), datasourceUid })),
        }),
      }),
      z.strictObject({
        ...source,
        type: z.literal('tempo'),
        jsonData: z.strictObject({
          tracesToLogsV2: z.strictObject({
            datasourceUid,
            spanStartTimeShift: duration,
            spanEndTimeShift: duration,
            customQuery: z.literal(true),
            query: z.string(),
          }),
          tracesToMetrics: z.strictObject({
            datasourceUid,
            queries: z.array(z.strictObject({ name: z.string(), query: z.string() })),
          }),
          nodeGraph: z.strictObject({ enabled: z.boolean() }),
        }),
      }),
      z.strictObject({
        ...source,
        type: z.literal('loki'),
        jsonData: z.strictObject({
          derivedFields: z.array(
            z.strictObject({
              name: z.string(),
              matcherType: z.enum(['label', 'regex']),
              matcherRegex: z.string(),
              url: z.string(),
              datasourceUid,
            }),
          ),
        }),
      }),
    ]),
  ),
})

/** The part of https://grafana.com/docs/grafana/v12.2/administration/provisioning/#dashboards that is used. */
const Dashboards = z.strictObject({
  apiVersion: z.literal(1),
  providers: z.array(
    z.strictObject({
      name: z.string(),
      type: z.literal('file'),
      allowUiUpdates: z.boolean(),
      options: z.strictObject({ path: z.string() }),
    }),
  ),
})

const Compose = z.object({
  services: z.record(
    z.string(),
    z.object({
      networks: z
        .union([z.array(z.string()), z.record(z.string(), z.unknown()).transform((named) => Object.keys(named))])
        .default([]),
      volumes: z.array(z.string()).default([]),
      environment: z.record(z.string(), z.unknown()).default({}),
    }),
  ),
})

const { services } = Compose.parse(await load('docker-compose.yml'))
const serviceOf = (name: string) => services[name] ?? expect.fail(`there is no service ${name}`)
const tempo = Tempo.parse(await load('infra/docker/tempo/tempo.yaml'))
const loki = Loki.parse(await load('infra/docker/loki/loki.yaml'))
const provisioning = 'infra/docker/grafana/provisioning'
const { datasources } = DataSources.parse(await load(`${provisioning}/datasources/datasources.yaml`))
const { providers } = Dashboards.parse(await load(`${provisioning}/dashboards/dashboards.yaml`))

/** The port where each service listens. Prometheus uses its default. */
const ports: Record<string, number> = {
  prometheus: 9090,
  tempo: tempo.server.http_listen_port,
  loki: loki.server.http_listen_port,
}
/** The path where a container mounts its volume, or a file or folder of the project. */
const mountOf = (service: string, from: string) =>
  serviceOf(service)
    .volumes.map((volume) => volume.split(':'))
    .find(([what]) => what === from)?.[1] ?? expect.fail(`${service} has no ${from}`)

describe('a data source of Grafana', () => {
  it.each(datasources)('$name is a service that it reaches, on the port where that listens', ({ url }) => {
    const { protocol, hostname, port } = new URL(url)
    expect([protocol, Number(port)]).toEqual(['http:', ports[hostname]])
    const shared = serviceOf(hostname).networks.filter((network) => serviceOf('grafana').networks.includes(network))
    expect(shared).not.toEqual([])
  })

  it.each(datasources)('$name leads to others that there are', ({ jsonData }) => {
    const uids = [...JSON.stringify(jsonData).matchAll(/"datasourceUid":"([^"]*)"/g)].map(([, uid]) => uid)
    expect(uids).not.toEqual([])
    expect(datasources.map(({ uid }) => uid)).toEqual(expect.arrayContaining(uids))
  })

  it('is there for each type that a dashboard lets choose', () => {
    const chosen = boards.flatMap((board) => dashboardOf(board).templating?.list?.map(({ query }) => query) ?? [])
    expect([...new Set(chosen)].sort()).toEqual(datasources.map(({ type }) => type as string).sort())
  })

  it('asks the others with queries that parse, of metrics that there are', async () => {
    const [{ tracesToLogsV2, tracesToMetrics }] = datasources.flatMap((each) =>
      each.type === 'tempo' ? [each.jsonData] : [],
    ) as [Extract<(typeof datasources)[number], { type: 'tempo' }>['jsonData']]
    // Grafana's own variables, which the file escapes with a second dollar sign.
    const filled = (query: string) => query.replaceAll(/\$\$\{[^}]*\}/g, 'x')
    expect(syntaxErrors('logql', filled(tracesToLogsV2.query))).toEqual([])
    const known = await knownSeries()
    for (const { query } of tracesToMetrics.queries) {
      expect(syntaxErrors('promql', filled(query))).toEqual([])
      expect(seriesIn(filled(query)).filter((name) => !known(name))).toEqual([])
    }
  })

  it('gets samples as often as Prometheus scrapes', async () => {
    const { global } = z
      .object({ global: z.object({ scrape_interval: z.string() }) })
      .parse(await load('infra/docker/prometheus/prometheus.yml'))
    expect(datasources[0]?.jsonData).toMatchObject({ timeInterval: global.scrape_interval })
  })
})

it('Grafana finds the dashboards where the container has them', () => {
  expect(providers.map(({ options }) => options.path)).toEqual([mountOf('grafana', './docs/dashboards')])
})

it('the collector gives traces and log records to where Tempo and Loki take them', () => {
  const { TRACES_ENDPOINT, LOGS_ENDPOINT } = serviceOf('otel-collector').environment
  const [, port] = tempo.distributor.receivers.otlp.protocols.http.endpoint.split(':')
  expect(TRACES_ENDPOINT).toBe(`http://tempo:${port}`)
  expect(LOGS_ENDPOINT).toBe(`http://loki:${ports.loki}/otlp`)
})

it('Tempo and Loki keep what they have on their volumes', () => {
  const { local, wal } = tempo.storage.trace
  for (const { path } of [local, wal]) expect(path).toMatch(new RegExp(`^${mountOf('tempo', 'tempo')}/`))
  const { path_prefix, storage } = loki.common
  for (const path of [...Object.values(storage.filesystem), loki.compactor.working_directory, path_prefix])
    expect(`${path}/`).toMatch(new RegExp(`^${mountOf('loki', 'loki')}/`))
})
