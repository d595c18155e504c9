import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { logger } from '#telemetry'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { type RunningKafka, startKafka } from '../../infra/local/engines/kafka.ts'
import { closeRelay } from '../../shared/events/relay.ts'
import { log, seen, start, stopFollowing, topic, until } from '../../shared/events/testing/events.ts'
import { withAdmin } from '../../shared/events/testing/kafka.ts'

/** By the driver's numbers, whose names would have to be loaded. */
const TOPIC = 2
const GROUP = 3
const [READ, WRITE, CREATE, DESCRIBE, DESCRIBE_CONFIGS] = [3, 4, 5, 8, 10]
const ALLOW = 3
const PREFIXED = 4

let kafka: RunningKafka

/** Leads to topics and groups that may be used in these ways alone, as docs/decisions/0009 lists them. */
async function withRights(ofTopics: number[]): Promise<string> {
  const url = `${kafka.url}?partitions=2&prefix=${randomUUID().slice(0, 8)}.`
  const rights = [
    ...ofTopics.map((operation) => ({ resourceType: TOPIC, operation })),
    { resourceType: GROUP, operation: READ },
  ]
  await withAdmin(url, (admin, resourceName) =>
    admin.createAcls({
      acl: rights.map((right) => ({
        ...right,
        resourceName,
        resourcePatternType: PREFIXED,
        principal: 'User:*',
        host: '*',
        permissionType: ALLOW,
      })),
    }),
  )
  overrideEnvironment({ EVENTS_URL: url })
  return url
}

const describeCompression = (url: string) =>
  withAdmin(url, (admin, prefix) =>
    admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: TOPIC, name: `${prefix}${topic}`, configNames: ['compression.type'] }],
    }),
  )

/** Publishes and follows, before and after the topics are there; gives what was warned of. */
async function use(url: string, mayDescribe: boolean): Promise<string[]> {
  const warn = vi.spyOn(logger(), 'warn')
  const productId = randomUUID()
  await log([1], productId)
  // Until the broker knows of the rights, everybody has all.
  if (!mayDescribe)
    await until(() => expect(describeCompression(url)).rejects.toThrow('Not authorized to access topics'))
  await closeRelay()
  await log([2], productId)
  const follower = start('group')
  await seen(follower, [1, 2])
  await stopFollowing()
  await closeRelay()
  const warnings = warn.mock.calls.map(([, line]) => String(line))
  vi.restoreAllMocks()
  return warnings
}

describe.skipIf(kafkaUrl === undefined)(`events ${inKafka} with access control lists`, () => {
  beforeAll(async () => {
    kafka = await startKafka({ hasAcls: true, isBrief: true })
  }, 120_000)
  afterAll(async () => {
    overrideEnvironment({ EVENTS_URL: undefined })
    await kafka.stop()
  })

  it('need the rights that are documented', async () => {
    const url = await withRights([READ, WRITE, CREATE, DESCRIBE, DESCRIBE_CONFIGS])
    expect(await use(url, true)).toEqual([])
  })

  it('are published and followed without DESCRIBE_CONFIGS too, with one warning', async () => {
    const url = await withRights([READ, WRITE, CREATE, DESCRIBE])
    expect(await use(url, false)).toEqual([expect.stringContaining('without the right DESCRIBE_CONFIGS')])
  })
})
