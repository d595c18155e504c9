import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { systemContext, transaction } from '#database'
import { oncePerEvent } from '#events'
import { sql } from '#testing'

const context = () => systemContext('function:test')
const effects = async (code: string) => (await sql`select priority from locations where code = ${code}`)[0]?.priority

/** An effect that can be counted, at most once per event. */
const handle = (code: string, eventId: string, fails = false) =>
  transaction(context(), async (tx) => {
    if (!(await oncePerEvent(tx, 'test', eventId))) return false
    await tx`update locations set priority = priority + 1 where code = ${code}`
    if (fails) throw new Error('after the effect')
    return true
  })

async function newCounter(): Promise<string> {
  const code = randomUUID()
  await sql`insert into locations (code, name, priority) values (${code}, 'counts', 0)`
  return code
}

describe('an event that is delivered again', () => {
  it('has one effect, also when its deliveries race', async () => {
    const [code, eventId] = [await newCounter(), randomUUID()]
    const handled = await Promise.all(Array.from({ length: 8 }, () => handle(code, eventId)))
    expect(handled.filter(Boolean)).toHaveLength(1)
    expect(await handle(code, eventId)).toBe(false)
    expect(await effects(code)).toBe(1)
  })

  it('has its effect at last where the first delivery failed after it', async () => {
    const [code, eventId] = [await newCounter(), randomUUID()]
    await expect(handle(code, eventId, true)).rejects.toThrow('after the effect')
    expect(await handle(code, eventId)).toBe(true)
    expect(await effects(code)).toBe(1)
  })

  it('is new to another consumer', async () => {
    const eventId = randomUUID()
    const first = await transaction(context(), (tx) => oncePerEvent(tx, 'one', eventId))
    const second = await transaction(context(), (tx) => oncePerEvent(tx, 'other', eventId))
    expect([first, second]).toEqual([true, true])
  })
})
