import { describe, expect, it } from 'vitest'
import { call, expectNoEffect, sql } from '#testing'
import createLocation from './index.ts'

const send = (body: object) => call(createLocation, { body })

describe('create-location', () => {
  it('adds a location', async () => {
    const { status, body, headers } = await send({ code: 'berlin.1', name: 'Berlin, Tor 1', priority: -5 })
    expect(status).toBe(201)
    expect(headers.get('location')).toBe('/v1/locations')
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(body).toEqual({ code: 'berlin.1', name: 'Berlin, Tor 1', priority: -5, createdAt: body.createdAt })
    expect(await sql`select name, priority from locations where code = 'berlin.1'`).toEqual([
      { name: 'Berlin, Tor 1', priority: -5 },
    ])
  })

  it.each(['main', 'twice'])('refuses a code that is taken: %s', async (code) => {
    await send({ code: 'twice', name: 'x', priority: 1 })
    const answer = await expectNoEffect(() => send({ code, name: 'y', priority: 2 }))
    expect(answer).toMatchObject({ status: 409, body: { code: 'location_code_taken' } })
  })

  it('adds once when ten want the same code at once', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => send({ code: 'race', name: 'x', priority: 1 })))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(9)
  })

  it('takes every member at its bound', async () => {
    for (const priority of [-1_000_000, 1_000_000]) {
      const code = `${priority}`.padEnd(64, 'x')
      expect((await send({ code, name: 'n'.repeat(200), priority })).status).toBe(201)
    }
  })

  it.each([
    ['code', { code: '' }],
    ['code', { code: 'x'.repeat(65) }],
    ['code', { code: 'a b' }],
    ['code', { code: 'a/b' }],
    ['code', { code: undefined }],
    ['name', { name: '' }],
    ['name', { name: 'x'.repeat(201) }],
    ['name', { name: 'a\u0000' }],
    ['name', { name: undefined }],
    ['priority', { priority: 1.5 }],
    ['priority', { priority: 1_000_001 }],
    ['priority', { priority: -1_000_001 }],
    ['priority', { priority: '1' }],
    ['priority', { priority: undefined }],
    ['id', { id: 1 }],
  ])('refuses a wrong %s: %j', async (path, members) => {
    const answer = await expectNoEffect(() => send({ code: 'wrong', name: 'x', priority: 1, ...members }))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
