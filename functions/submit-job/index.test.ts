import { describe, expect, it } from 'vitest'
import { call, expectNoEffect, newKey, sql } from '#testing'
import submitJob from './index.ts'

const verify = { type: 'verify-ledger', payload: {} }

describe('submit-job', () => {
  it('queues a job, and says where it is', async () => {
    const { status, body, headers } = await call(submitJob, { body: verify })
    expect(status).toBe(202)
    expect(headers.get('location')).toBe(`/v1/jobs/${body.id}`)
    expect(headers.get('consistency-token')).toMatch(/^[0-9A-F]+-/)
    expect(body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      type: 'verify-ledger',
      state: 'queued',
      attempts: 0,
      progress: { done: 0, total: 0 },
      result: null,
      error: null,
      createdAt: body.updatedAt,
      updatedAt: expect.stringMatching(/Z$/),
    })
  })

  it.each([
    [{}, 'csv'],
    [{ format: 'csv' }, 'csv'],
    [{ format: 'ndjson' }, 'ndjson'],
  ])('takes %j as the payload of an export', async (payload, format) => {
    const { status, body } = await call(submitJob, { body: { type: 'export-stock', payload } })
    expect(status).toBe(202)
    expect(await sql`select payload from jobs where id = ${body.id}`).toEqual([{ payload: { format } }])
  })

  it('remembers who submitted it, and in which trace', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const { body } = await call(submitJob, { body: verify, headers: { traceparent, tracestate: 'a=1' } })
    const [job] = await sql`select actor, traceparent, tracestate from jobs where id = ${body.id}`
    expect(job?.actor).toMatch(/^api-key:[0-9a-f-]{36}$/)
    expect(job?.traceparent).toContain(traceparent.slice(3, 35))
    expect(job?.tracestate).toBe('a=1')
  })

  it('queues one job for a request that is repeated with its idempotency key', async () => {
    const request = { body: verify, headers: { 'idempotency-key': 'once' } }
    const first = await call(submitJob, request)
    const again = await expectNoEffect(() => call(submitJob, request))
    expect([again.status, again.body, again.headers.get('location')]).toEqual([
      202,
      first.body,
      first.headers.get('location'),
    ])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
  })

  it.each([
    ['no type', { payload: {} }, 'type'],
    ['a type there is not', { type: 'make-coffee', payload: {} }, 'type'],
    ['a type that another route makes', { type: 'import-products', payload: { format: 'csv' } }, 'type'],
    ['no payload', { type: 'verify-ledger' }, 'payload'],
    ['a payload that is no object', { type: 'verify-ledger', payload: [] }, 'payload'],
    ['a member of another type’s payload', { type: 'verify-ledger', payload: { format: 'csv' } }, 'payload.format'],
    ['an unknown member of the payload', { type: 'export-stock', payload: { colour: 1 } }, 'payload.colour'],
    ['a format there is not', { type: 'export-stock', payload: { format: 'pdf' } }, 'payload.format'],
    ['an unknown member', { ...verify, priority: 1 }, 'priority'],
  ])('refuses %s', async (_, body, path) => {
    const answer = await expectNoEffect(() => call(submitJob, { body }))
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed', errors: [{ path }] } })
  })

  it.each([
    ['verify-ledger', 'admin', ['jobs:write', 'stock:read', 'stock:write']],
    ['export-stock', 'stock:read', ['jobs:write', 'stock:write', 'products:read']],
  ] as const)('lets nobody have a job of the type %s do what takes the scope %s', async (type, scope, others) => {
    const key = await newKey(...others)
    const refused = await expectNoEffect(() => call(submitJob, { key, body: { type, payload: {} } }))
    expect(refused).toMatchObject({ status: 403, body: { code: 'forbidden', detail: expect.stringContaining(scope) } })
    const allowed = await newKey('jobs:write', scope)
    expect((await call(submitJob, { key: allowed, body: { type, payload: {} } })).status).toBe(202)
  })
})

describe('the open exports of a key', () => {
  const ask = (key: string) => call(submitJob, { key, body: { type: 'export-stock', payload: {} } })

  it('are four at most, also where all are asked for at once; those of others, and those that are over, do not count', async () => {
    const [key, other] = [await newKey('jobs:write', 'stock:read'), await newKey('jobs:write', 'stock:read')]
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask(key)))
    const accepted = answers.filter(({ status }) => status === 202)
    expect(accepted).toHaveLength(4)
    for (const { status, body } of answers) {
      if (status !== 202) expect([status, body.code]).toEqual([409, 'too_many_jobs'])
    }
    expect((await ask(other)).status).toBe(202)
    const audit = await call(submitJob, { body: verify })
    expect(audit.status).toBe(202)
    for (const state of ['running', 'retrying']) {
      const lease = state === 'running' ? 'somebody' : null
      await sql`
        update jobs set state = ${state}, lease = ${lease}, locked_until = case when ${lease}::text is null then null else now() end
        where id = ${accepted[0]?.body.id}`
      expect((await ask(key)).status).toBe(409)
    }
    for (const state of ['succeeded', 'dead']) {
      await sql`update jobs set state = ${state}, lease = null, locked_until = null where id = ${accepted[0]?.body.id}`
      expect((await ask(key)).status).toBe(202)
      await sql`delete from jobs where id = (select max(id::text)::uuid from jobs where actor = (select actor from jobs where id = ${accepted[1]?.body.id}))`
    }
  })
})
