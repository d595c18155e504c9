import { beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { afterCommit, closeDatabase, pipeline, refusedInput, type Sql, systemContext, transaction } from '#database'
import { ServiceError } from '#errors'
import { renderMetrics } from '#telemetry'
import { blocked, inRivalSession, sql } from '#testing'

const context = () => systemContext('function:test')
const name = async (code: string) => (await sql`select name from locations where code = ${code}`)[0]?.name
const rename = (tx: Sql, code: string, to: string) => tx`update locations set name = ${to} where code = ${code}`
const add = (tx: Sql, code: string) => tx`insert into locations (code, name, priority) values (${code}, 'new', 1)`

async function retries(reason: string): Promise<number> {
  const line = (await renderMetrics()).match(
    new RegExp(`database_transaction_retries_total\\{reason="${reason}"\\} (\\d+)`),
  )
  return Number(line?.[1] ?? 0)
}

beforeEach(async () => {
  await sql`delete from locations where code <> 'main'`
  await sql`insert into locations (code, name, priority) values ('a', 'a', 1), ('b', 'b', 2)`
})

describe('a transaction that loses a race', () => {
  it('runs again after a deadlock with a session that locks in the opposite order', async () => {
    const before = await retries('deadlock_detected')
    let attempts = 0
    await inRivalSession(async (rival) => {
      // A session that waits for `deadlock_timeout` looks for a deadlock, and is aborted if it finds one. With this, that is not the rival.
      await rival`set local deadlock_timeout = '1h'`
      await rename(rival, 'b', 'rival')
      const running = transaction(context(), async (tx) => {
        attempts++
        await rename(tx, 'a', `attempt ${attempts}`)
        await rename(tx, 'b', `attempt ${attempts}`)
      })
      await blocked()
      await rename(rival, 'a', 'rival')
      await rival`commit`
      await running
    })
    expect(attempts).toBe(2)
    expect([await name('a'), await name('b')]).toEqual(['attempt 2', 'attempt 2'])
    expect(await retries('deadlock_detected')).toBe(before + 1)
  })

  it('runs again after a serialization failure, with a fresh look', async () => {
    const before = await retries('serialization_failure')
    let attempts = 0
    await transaction(context(), async (tx) => {
      attempts++
      await tx`set transaction isolation level repeatable read`
      const [row] = await tx<[{ name: string }]>`select name from locations where code = 'a'`
      if (attempts === 1) await rename(sql, 'a', 'rival')
      await rename(tx, 'a', `${row.name}!`)
    })
    expect(attempts).toBe(2)
    expect(await name('a')).toBe('rival!')
    expect(await retries('serialization_failure')).toBe(before + 1)
  })

  it('gives up with busy after six attempts, and leaves nothing behind', async () => {
    let attempts = 0
    await inRivalSession(async (rival) => {
      await rename(rival, 'b', 'rival')
      const failing = transaction(context(), async (tx) => {
        attempts++
        await tx`set local lock_timeout = '5ms'`
        await rename(tx, 'a', 'changed')
        await rename(tx, 'b', 'changed')
      })
      await expect(failing).rejects.toMatchObject({ code: 'busy', status: 503, retryAfterSeconds: 1 })
    })
    expect(attempts).toBe(6)
    expect([await name('a'), await name('b')]).toEqual(['a', 'b'])
  })
})

describe('a transaction', () => {
  it('gives what its work gives, and moves the token forward with each commit', async () => {
    const by = context()
    expect(await transaction(by, async () => 'result')).toBe('result')
    const token = by.response.consistencyToken
    await transaction(by, (tx) => rename(tx, 'a', 'changed'))
    expect(by.response.consistencyToken).not.toBe(token)
    expect(by.response.consistencyToken).toMatch(/^1-[0-9A-F]+\/[0-9A-F]+$/)
  })

  it('is undone by a throw of its work, which comes out as it was thrown', async () => {
    const defect = new TypeError('a defect')
    const by = context()
    const failing = transaction(by, async (tx) => {
      await rename(tx, 'a', 'changed')
      throw defect
    })
    await expect(failing).rejects.toBe(defect)
    expect(await name('a')).toBe('a')
    expect(by.response.consistencyToken).toBeUndefined()
  })

  it('cannot commit silently when its work swallows an error of the database', async () => {
    const failing = transaction(context(), async (tx) => {
      await rename(tx, 'a', 'changed')
      await tx`select 1 / 0`.catch(() => {})
      return 'looks fine'
    })
    await expect(failing).rejects.toThrow()
    expect(await name('a')).toBe('a')
  })

  it('refuses a statement that is sent after its end', async () => {
    let escaped: Sql | undefined
    await transaction(context(), async (tx) => {
      escaped = tx
    })
    await expect(rename(escaped as Sql, 'a', 'escaped')).rejects.toThrow('after its transaction had ended')
    await expect(
      transaction(context(), async (tx) => {
        escaped = tx
        throw new Error('failed')
      }),
    ).rejects.toThrow('failed')
    await expect(rename(escaped as Sql, 'a', 'escaped')).rejects.toThrow('after its transaction had ended')
    expect(await name('a')).toBe('a')
    // Refused between the statements of a pipeline: no promise is left that nothing awaits, which would end the process.
    const several = async (tx: Sql) => {
      await tx`select 1`
    }
    const sending = () => pipeline([several(escaped as Sql), rename(escaped as Sql, 'b', 'escaped')])
    await expect(sending()).rejects.toThrow('after its transaction had ended')
    expect(await name('b')).toBe('b')
  })

  it('is not run again once it is committed: what covers it can not be read, or what follows fails', async () => {
    let attempts = 0
    const counted = (work: (tx: Sql) => unknown) =>
      transaction(context(), async (tx) => {
        attempts++
        await tx`update locations set priority = priority + 1 where code = 'a'`
        await work(tx)
      })
    await sql.unsafe(`create schema broken; create function broken.pg_current_wal_lsn() returns pg_lsn language plpgsql
      as $$ begin raise lock_not_available; end $$`)
    const broken = counted((tx) => tx`set search_path = broken, pg_catalog, public`)
    await expect(broken).rejects.toMatchObject({ code: 'unavailable' })
    await closeDatabase()
    await counted((tx) =>
      afterCommit(tx, () => {
        throw new Error('a defect')
      }),
    )
    expect(attempts).toBe(2)
    expect((await sql`select priority from locations where code = 'a'`)[0]?.priority).toBe(3)
  })

  it.each(['commits', 'fails'])('refuses a straggler of its own work while it %s', async (ending) => {
    // A branch that nothing awaits goes on sending. A statement that it sends after COMMIT or ROLLBACK would run outside of the transaction.
    let sent = 0
    let refused: unknown
    const straggle = async (tx: Sql) => {
      for (; sent < 200; sent++) {
        await new Promise((resolve) => setImmediate(resolve))
        await rename(tx, 'b', `straggler ${sent}`)
      }
    }
    const straggling = (tx: Sql) => {
      straggle(tx).catch((error) => {
        refused = error
      })
    }
    const running = transaction(context(), async (tx) => {
      await rename(tx, 'a', 'changed')
      straggling(tx)
      if (ending === 'fails') throw new ServiceError('not_held', 'refused')
    })
    if (ending === 'fails') await expect(running).rejects.toMatchObject({ code: 'not_held' })
    else await running
    await vi.waitFor(() => expect(refused).toMatchObject({ message: expect.stringContaining('had ended') }))
    expect(await name('a')).toBe(ending === 'fails' ? 'a' : 'changed')
    expect(await name('b')).toBe('b')
    await transaction(context(), (tx) => rename(tx, 'b', 'next'))
    expect(await name('b')).toBe('next')
  })

  it('leaves it to the caller whose fault it is what the database can not store: a client’s input, or the code’s', async () => {
    const failure = await transaction(context(), (tx) => rename(tx, 'a', 'nul \u0000')).catch((error) => error)
    expect(failure).not.toBeInstanceOf(ServiceError)
    expect(refusedInput(failure)).toMatchObject({ code: 'validation_failed', issues: [{ path: '' }] })
    expect(refusedInput(new ServiceError('not_held', 'no such thing'))).toBeUndefined()
    const other = await transaction(context(), (tx) => tx`select no_such_column`).catch((error) => error)
    expect(refusedInput(other)).toBeUndefined()
  })
})

describe('connections for transactions', () => {
  it('are bounded: past 2,000 waiting requests the next is refused at once, and the others are served', async () => {
    await closeDatabase()
    overrideEnvironment({ DATABASE_POOL_MAX: '1' })
    let begin = () => {}
    let finish = () => {}
    const begun = new Promise<void>((resolve) => {
      begin = resolve
    })
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const first = transaction(context(), async (tx) => {
      await add(tx, 'first')
      // However long 2,000 transactions take here, none of them waits too long for its connection.
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      begin()
      return finished
    })
    await begun
    const waiting = Array.from({ length: 2_000 }, (_, index) => transaction(context(), async () => index))
    await expect(transaction(context(), async () => 'too much')).rejects.toMatchObject({ code: 'overloaded' })
    finish()
    await first
    expect(await Promise.all(waiting)).toHaveLength(2_000)
    vi.useRealTimers()
    await closeDatabase()
    overrideEnvironment({ DATABASE_POOL_MAX: undefined })
  })

  it('are waited for at most 5 s', async () => {
    await closeDatabase()
    overrideEnvironment({ DATABASE_POOL_MAX: '1' })
    let finish = () => {}
    const begun = new Promise<void>((begin) => {
      const finished = new Promise<void>((resolve) => {
        finish = resolve
      })
      void transaction(context(), async (tx) => {
        await add(tx, 'c')
        begin()
        await finished
      })
    })
    await begun
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const late = expect(transaction(context(), async () => 'late')).rejects.toMatchObject({ code: 'overloaded' })
    await vi.advanceTimersByTimeAsync(5_000)
    await late
    vi.useRealTimers()
    finish()
    expect(await transaction(context(), async () => 'served')).toBe('served')
    await closeDatabase()
    overrideEnvironment({ DATABASE_POOL_MAX: undefined })
  })
})
