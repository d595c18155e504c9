import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { type IdempotencyKey, type RequestContext, type Sql, systemContext, transaction } from '#database'
import { invalid, ServiceError } from '#errors'
import { blocked, inRivalSession, sql } from '#testing'

const apiKeyId = randomUUID()
let requests = 0

function contextWith(key: string, fingerprint = 'same'): RequestContext & { idempotency: IdempotencyKey } {
  requests++
  const idempotency = {
    apiKeyId,
    key,
    fingerprint: Buffer.from(fingerprint),
    requestId: `request-${requests}`,
  }
  return { ...systemContext('function:test'), idempotency }
}

const add = (tx: Sql, code: string) => tx`insert into locations (code, name, priority) values (${code}, 'new', 1)`
const added = async () =>
  (await sql`select code from locations where code <> 'main' order by code`).map((row) => row.code)
const records = async () => [
  ...(await sql`select key, result, failure->>'code' as failure, request_id as "requestId" from idempotency_keys order by key`),
]

beforeEach(async () => {
  await sql`delete from locations where code <> 'main'`
  await sql`delete from idempotency_keys`
})

describe('a transaction under an idempotency key', () => {
  it('has its effect once, and gives the first result to every equal request after it', async () => {
    const work = async (tx: Sql) => {
      await add(tx, 'a')
      return { id: requests, nested: { list: [1, null, 'ü'] } }
    }
    const first = contextWith('k')
    const result = await transaction(first, work)
    expect(first.response.replayedFrom).toBeUndefined()
    const second = contextWith('k')
    expect(await transaction(second, work)).toEqual(result)
    expect(second.response.replayedFrom).toBe(first.idempotency.requestId)
    expect(second.response.consistencyToken).toBeDefined()
    expect(await added()).toEqual(['a'])
  })

  it('that gives nothing is replayed all the same', async () => {
    const work = (tx: Sql) => add(tx, 'a').then(() => undefined)
    await transaction(contextWith('k'), work)
    await transaction(contextWith('k'), work)
    expect(await added()).toEqual(['a'])
  })

  it('refuses another request under the key, and keeps the first answer', async () => {
    await transaction(contextWith('k'), (tx) => add(tx, 'a'))
    const before = await records()
    const other = transaction(contextWith('k', 'other'), (tx) => add(tx, 'b'))
    await expect(other).rejects.toMatchObject({ code: 'idempotency_key_reused' })
    expect(await added()).toEqual(['a'])
    expect(await records()).toEqual(before)
  })

  it('counts for one API key only', async () => {
    await transaction(contextWith('k'), (tx) => add(tx, 'a'))
    const stranger = contextWith('k', 'other')
    stranger.idempotency.apiKeyId = randomUUID()
    await transaction(stranger, (tx) => add(tx, 'b'))
    expect(await added()).toEqual(['a', 'b'])
  })

  const shortages = [{ productId: '0', sku: 'A', requested: 2, available: 1 }]
  it.each([
    new ServiceError('product_not_found', 'The detail.'),
    new ServiceError('insufficient_stock', 'The detail.', { extra: { shortages } }),
    new ServiceError('version_mismatch', 'The detail.'),
  ])('stores its failure with %s, and does not try again', async (failure) => {
    let runs = 0
    const work = async (tx: Sql) => {
      runs++
      await add(tx, 'a')
      throw failure
    }
    const first = await transaction(contextWith('k'), work).catch((error) => error)
    const again = contextWith('k')
    const second = await transaction(again, work).catch((error) => error)
    expect(second).toMatchObject({ code: failure.code, detail: first.detail, extra: first.extra })
    expect(again.response.replayedFrom).toBeDefined()
    expect(runs).toBe(1)
    expect(await added()).toEqual([])
  })

  it.each([
    invalid('name', 'is wrong'),
    new ServiceError('unavailable', 'gone'),
    new ServiceError('request_in_progress', 'twin'),
    new Error('a defect'),
  ])('stores nothing when it fails with %s, and an equal request tries again', async (failure) => {
    const failing = transaction(contextWith('k'), async (tx) => {
      await add(tx, 'a')
      throw failure
    })
    await expect(failing).rejects.toBe(failure)
    expect(await records()).toEqual([])
    await transaction(contextWith('k'), (tx) => add(tx, 'b'))
    expect(await added()).toEqual(['b'])
  })

  it('forgets an answer after 24 hours, and then the key is free for any request', async () => {
    await transaction(contextWith('k'), (tx) => add(tx, 'a'))
    await sql`update idempotency_keys set created_at = now() - interval '23 hours 59 minutes'`
    await expect(transaction(contextWith('k', 'other'), (tx) => add(tx, 'b'))).rejects.toThrow('idempotency_key_reused')
    await sql`update idempotency_keys set created_at = now() - interval '24 hours'`
    const other = contextWith('k', 'other')
    await transaction(other, (tx) => add(tx, 'b'))
    expect(await added()).toEqual(['a', 'b'])
    expect(await records()).toMatchObject([{ requestId: other.idempotency.requestId }])
    await sql`update idempotency_keys set created_at = now() - interval '25 hours'`
    const failing = transaction(contextWith('k'), async () => {
      throw new ServiceError('not_held', 'over')
    })
    await expect(failing).rejects.toThrow('not_held')
    expect(await records()).toMatchObject([{ failure: 'not_held' }])
  })

  it('has no effect without its record, and no record without its effect', async () => {
    await sql.unsafe(`
      create function refuse() returns trigger language plpgsql as $$ begin raise 'the record is refused'; end $$;
      create trigger refuse before insert on idempotency_keys for each row execute function refuse()`)
    try {
      await expect(transaction(contextWith('k'), (tx) => add(tx, 'a'))).rejects.toThrow('the record is refused')
      expect(await added()).toEqual([])
    } finally {
      await sql.unsafe('drop function refuse cascade')
    }
    await expect(transaction(contextWith('k'), (tx) => tx`select 1 / 0`)).rejects.toThrow()
    expect(await records()).toEqual([])
  })
})

describe('equal requests at the same time', () => {
  it('have one effect: the others get its answer, or learn that it still runs', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, () =>
        transaction(contextWith('k'), async (tx) => {
          await add(tx, `effect-${requests}-${Math.random()}`)
          return 'the answer'
        }),
      ),
    )
    const effects = await added()
    expect(effects).toHaveLength(1)
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') expect(outcome.value).toBe('the answer')
      else expect(outcome.reason).toMatchObject({ code: 'request_in_progress', retryAfterSeconds: 1 })
    }
    expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true)
    expect(await records()).toHaveLength(1)
  })

  it('are told at once while the first still runs, rather than kept waiting', async () => {
    await inRivalSession(async (rival) => {
      await add(rival, 'a')
      const first = transaction(contextWith('k'), (tx) => add(tx, 'a')).catch((error) => error)
      await blocked()
      const second = transaction(contextWith('k'), (tx) => add(tx, 'b'))
      await expect(second).rejects.toMatchObject({ code: 'request_in_progress' })
      await rival`rollback`
      await first
    })
    expect(await added()).toEqual(['a'])
  })

  it('of which the answer is stored are all given it, even side by side', async () => {
    await transaction(contextWith('k'), async () => 'the answer')
    const replays = Array.from({ length: 40 }, () => transaction(contextWith('k'), async () => 'another'))
    expect(new Set(await Promise.all(replays))).toEqual(new Set(['the answer']))
  })

  it('can end in one way only, when one fails and the other succeeds', async () => {
    const outcomes = await inRivalSession(async (rival) => {
      // Both records wait here: the failed request has given up its locks before its answer can be stored.
      await rival`lock table idempotency_keys in share row exclusive mode`
      const failing = fail()
      await blocked(1)
      const succeeding = succeed()
      await blocked(2)
      await rival`commit`
      return Promise.all([failing, succeeding])
    })
    await expectOneEnding(outcomes)
  })

  it('can end in one way only, when one fails while the other is in the middle of its work', async () => {
    await sql.unsafe(`
      create function pause() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock_shared(1); return new; end $$;
      create trigger pause before insert on idempotency_keys for each row when (new.failure is not null)
        execute function pause()`)
    const outcomes = await inRivalSession((work) =>
      inRivalSession(async (record) => {
        await add(work, 'a')
        await record`select pg_advisory_xact_lock(1)`
        const failing = fail()
        await blocked(1)
        const succeeding = succeed()
        // The request waits for the rival's 'a', unless it has been refused.
        await Promise.race([blocked(2), succeeding])
        await record`commit`
        const outcome = await failing
        await work`rollback`
        return [outcome, await succeeding]
      }),
    )
    await sql.unsafe('drop function pause cascade')
    await expectOneEnding(outcomes)
  })

  const fail = () =>
    transaction(contextWith('k'), async () => {
      throw new ServiceError('not_held', 'none left')
    }).catch((error) => error.code)

  const succeed = () =>
    transaction(contextWith('k'), (tx) => add(tx, 'a').then(() => 'the answer')).catch((error) => error.code)

  /** Whatever the answers were, no two of them contradict each other, and they agree with the effects. */
  async function expectOneEnding(outcomes: string[]) {
    const replay = await transaction(contextWith('k'), async () => 'another').catch((error) => error.code)
    const final = outcomes.filter((outcome) => outcome !== 'request_in_progress')
    expect(new Set([...final, replay]).size).toBe(1)
    expect(await added()).toEqual(replay === 'the answer' ? ['a'] : [])
  }
})
