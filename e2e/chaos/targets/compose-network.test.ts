import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { advertisedThroughToxiproxy, type ComposeConfig, links, throughToxiproxy } from './compose-network.ts'

const fileAt = (path: string) => readFile(new URL(`../../../${path}`, import.meta.url), 'utf8')

it('every container that connects to an engine does so through Toxiproxy', async () => {
  const config: ComposeConfig = parse(await fileAt('docker-compose.yml'), { merge: true, maxAliasCount: -1 })
  const changed = throughToxiproxy(config)
  // Exporters belong to a profile that chaos runs do not use.
  const others = Object.keys(config.services).filter((name) => !name.endsWith('-exporter'))
  for (const name of others) {
    const environment = { ...config.services[name]?.environment, ...changed.services[name]?.environment }
    const told = Object.values(environment).flatMap((value) => /\w+:\/\/\S+/.exec(String(value)) ?? [])
    for (const { upstream } of links)
      expect(
        told.filter((text) => text.includes(upstream)),
        name,
      ).toEqual([])
  }
  expect(changed.services['process-job']?.environment).toMatchObject({
    DATABASE_URL: expect.stringContaining('@toxiproxy:5432,toxiproxy:5433/stock'),
    JOBS_URL: expect.stringContaining('@toxiproxy:5672'),
  })
  expect(changed.services['publish-events']?.environment?.EVENTS_URL).toBe('kafka://toxiproxy:9092?partitions=12')
})

it('each link has a port of its own, and the router finds each function by one', () => {
  expect(new Set(links.map(({ port }) => port)).size).toBe(links.length)
  const { services } = throughToxiproxy({ services: {} })
  expect(services.router?.environment?.UPSTREAM_RESERVE_STOCK).toBe('http://toxiproxy:3001')
})

it('the broker advertises Toxiproxy, and a file where that can’t be told is refused', async () => {
  const properties = advertisedThroughToxiproxy(await fileAt('infra/docker/kafka/server.properties'))
  expect(properties).toContain('\nadvertised.listeners=PLAINTEXT://toxiproxy:9092\n')
  expect(() => advertisedThroughToxiproxy('advertised.listeners=PLAINTEXT://other:9092')).toThrow(/another address/)
})
