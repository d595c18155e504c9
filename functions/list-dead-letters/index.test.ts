import { beforeEach, describe, expect, it } from 'vitest'
import { call, deadJob, expectPaging, sql, walk } from '#testing'
import listDeadLetters from './index.ts'

beforeEach(async () => {
  await sql`truncate jobs cascade`
})

describe('list-dead-letters', () => {
  it('gives the jobs that have died, with the reason, newest first', async () => {
    const first = await deadJob('unavailable: the moon is down')
    const second = await deadJob()
    const { status, body } = await call(listDeadLetters)
    expect(status).toBe(200)
    expect(body.nextCursor).toBeNull()
    expect(body.items.map(({ jobId }: { jobId: string }) => jobId)).toEqual([second, first])
    expect(body.items[1]).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      jobId: first,
      type: 'export-stock',
      payload: { format: 'csv' },
      error: 'unavailable: the moon is down',
      attempts: 1,
      diedAt: expect.stringMatching(/Z$/),
    })
  })

  it('leaves out what was redriven', async () => {
    await deadJob()
    await sql`update dead_letters set redriven_at = now(), redriven_by = 'api-key:test'`
    expect((await call(listDeadLetters)).body).toEqual({ items: [], nextCursor: null })
  })

  it('is read in pages, each letter once, while more jobs die', async () => {
    const jobs = [await deadJob(), await deadJob(), await deadJob()].reverse()
    await expectPaging(listDeadLetters)
    const items = await walk(listDeadLetters, {}, 1, deadJob)
    expect(items.map(({ jobId }) => jobId)).toEqual(jobs)
  })
})
