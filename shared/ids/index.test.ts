import { describe, expect, it } from 'vitest'
import { newId } from './index.ts'

describe('newId', () => {
  it('makes UUIDs of version 7, each later than the one before, through several stocks of randomness', () => {
    const before = Date.now()
    const ids = Array.from({ length: 5_000 }, newId)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(ids).toEqual([...new Set(ids)].sort())
    const ms = Number.parseInt((ids[0] ?? '').replaceAll('-', '').slice(0, 12), 16)
    expect(ms).toBeGreaterThanOrEqual(before)
    expect(ms).toBeLessThanOrEqual(Date.now())
  })

  it('makes ids whose last 32 bits differ from one to the next', () => {
    const tails = new Set(Array.from({ length: 1_000 }, () => newId().slice(-8)))
    expect(tails.size).toBeGreaterThan(990)
  })
})
