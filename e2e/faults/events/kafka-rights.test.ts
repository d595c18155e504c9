import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { measureEvents } from '#events'
import { logger, renderMetrics } from '#telemetry'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { metric } from '#testing/metrics'
import { type RunningKafka, startKafka } from '../../../infra/local/engines/kafka.ts'
import { closeRelay } from '../../../shared/events/outbox/relay.ts'
import { log, seen, start, stopFollowing, topic, until } from '../../../shared/events/testing/events.ts'
import { withAdmin } from '../../../shared/events/testing/kafka.ts'

/** The driver's numeric constants. Using their names would require loading the driver. */
const TOPIC = 2
const GROUP = 3
const [READ, WRITE, CREATE, DESCRIBE, DESCRIBE_CONFIGS] = [3, 4, 5, 8, 10]
const ALLOW = 3
const PREFIXED = 4

let kafka: RunningKafka

const newUrl = () => `${kafka.url}?partitions=2&prefix=${randomUUID().slice(0, 8)}.`

/** Makes a URL of topics and groups with only these rights, as docs/decisions/0009 lists them. */
async function withRights(ofTopics: number[], ofGroups: number[] = [READ], url = newUrl()): Promise<string> {
  const rights = [
    // A resource without any access control list is open to everybody.
    { resourceType: TOPIC, operation: READ, principal: 'User:another' },
    { resourceType: GROUP, operation: READ, principal: 'User:another' },
    ...ofTopics.map((operation) => ({ resourceType: TOPIC, operation, principal: 'User:*' })),
    ...ofGroups.map((operation) => ({ resourceType: GROUP, operation, principal: 'User:*' })),
  ]
  await withAdmin(url, (admin, resourceName) =>
    admin.createAcls({
      acl: rights.map((right) => ({
        ...right,
        resourceName,
        resourcePatternType: PREFIXED,
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

/** Returns the URL of a log with two events. Its topics have no access control list, so they are open to everybody. */
async function withLog(): Promise<string> {
  const url = newUrl()
  overrideEnvironment({ EVENTS_URL: url })
  await log([1, 2])
  await closeRelay()
  return url
}

/** Publishes and follows, before and after the topics exist. Returns the warnings. */
async function use(url: string, mayDescribe: boolean): Promise<string[]> {
  const warn = vi.spyOn(logger(), 'warn')
  const productId = randomUUID()
  await log([1], productId)
  // Until the broker has applied the rights, everybody has all rights.
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

  it('are measured with DESCRIBE alone, of the topics and the groups', async () => {
    const url = await withLog()
    await withRights([DESCRIBE], [DESCRIBE], url)
    await until(() => expect(describeCompression(url)).rejects.toThrow('Not authorized to access topics'))
    const warn = vi.spyOn(logger(), 'warn')
    await until(() => measureEvents(['group']))
    expect(await metric(`stream_lag_events{group="group",topic="${topic}"}`)).toBe(2)
    expect(warn).not.toHaveBeenCalled()
  })

  it.each([
    ['the group', [DESCRIBE], []],
    ['the topics', [], [DESCRIBE]],
  ])('are not measured, rather than measured as none, without DESCRIBE of %s', async (_, ofTopics, ofGroups) => {
    const url = await withLog()
    await withRights(ofTopics, ofGroups, url)
    await until(() => expect(measureEvents(['group'])).rejects.toMatchObject({ code: 'unavailable' }))
    expect(await renderMetrics()).not.toMatch(/^stream_lag_events\{/m)
  })
})
