import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { ServiceError } from '#errors'
import { sql } from '#testing'
import { type RequestContext, systemContext } from '../request-context.ts'
import { StaleRead } from '../transactions/failures.ts'
import { pipeline } from '../transactions/pipeline.ts'
import type { Decision, Member } from './answers.ts'
import { type GroupCommitOptions, groupCommit } from './group-commit.ts'

interface Request {
  name: string
  behaviour?: 'refuse' | 'poison' | 'drop-connection' | 'stale-once' | 'undefined'
}

await sql`create table effects (name text not null)`
beforeEach(() => sql`truncate effects`)

/** The batches that were decided, in order, and a gate that holds the first one back. */
function recorder(
  more: Partial<GroupCommitOptions<Request, string>> = {},
  covers: (request: Request) => boolean = () => false,
) {
  const batches: string[][] = []
  let open: () => void = () => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  let reached: () => void = () => {}
  const isHeld = new Promise<void>((resolve) => {
    reached = resolve
  })
  const submit = groupCommit<Request, string>({
    name: 'test',
    batchMax: 100,
    queueMax: 100,
    ...more,
    async open(tx, _, attempt) {
      const batch: string[] = []
      batches.push(batch)
      reached()
      await gate
      const requests: Request[] = []
      return {
        covers,
        decide(member) {
          batch.push(member.request.name)
          requests.push(member.request)
          return decisionOf(member)
        },
        async write() {
          const names = requests.filter(({ behaviour }) => behaviour !== 'refuse').map(({ name }) => name)
          const has = (wanted: Request['behaviour']) => requests.some(({ behaviour }) => behaviour === wanted)
          if (has('stale-once') && attempt === 1) throw new StaleRead('a test')
          await pipeline([
            tx`insert into effects select * from unnest(${names}::text[])`,
            has('poison') && tx`select 1 / 0`,
            has('undefined') && tx`select ${undefined as never}`,
            has('drop-connection') && tx`select pg_terminate_backend(pg_backend_pid())`,
          ])
        },
      }
    },
  })
  return { submit, batches, open, isHeld }
}

function decisionOf({ request }: Member<Request>): Decision<string> {
  if (request.behaviour === 'refuse') return { error: new ServiceError('not_held', 'none left') }
  return { result: `did ${request.name}` }
}

const effects = async () =>
  (await sql<Array<{ name: string }>>`select name from effects`).map(({ name }) => name).sort()

function keyed(key: string, body = key): RequestContext {
  const fingerprint = createHash('sha256').update(body).digest()
  const idempotency = {
    apiKeyId: '00000000-0000-7000-8000-000000000001',
    key,
    fingerprint,
    requestId: 'r',
  }
  return { ...systemContext('test'), idempotency }
}

describe('a group commit', () => {
  it('runs what waits while a transaction is in flight as the next one, in the order of arrival', async () => {
    const { submit, batches, open, isHeld } = recorder()
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const others = ['b', 'c', 'd'].map((name) => submit({ name }, systemContext('test')))
    open()
    expect(await Promise.all([first, ...others])).toEqual(['did a', 'did b', 'did c', 'did d'])
    expect(batches).toEqual([['a'], ['b', 'c', 'd']])
  })

  it('lets those that come while it waits for its locks join, where the locks do for them', async () => {
    const { submit, batches, open, isHeld } = recorder({ batchMax: 4 }, ({ name }) => name !== 'uncovered')
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const used = keyed('joins')
    const requests: Array<[string, RequestContext]> = [
      ['uncovered', systemContext('test')],
      ['b', used],
      ['again', keyed('joins')],
      ['c', systemContext('test')],
      ['d', keyed('joins too')],
      ['e', systemContext('test')],
    ]
    const others = requests.map(([name, context]) => submit({ name }, context))
    open()
    expect(await Promise.all([first, ...others])).toEqual([
      'did a',
      'did uncovered',
      'did b',
      'did b',
      'did c',
      'did d',
      'did e',
    ])
    expect(batches).toEqual([
      ['a', 'b', 'c', 'd'],
      ['uncovered', 'e'],
    ])
    expect(await effects()).toEqual(['a', 'b', 'c', 'd', 'e', 'uncovered'])
    const replay = keyed('joins')
    expect(await submit({ name: 'b' }, replay)).toBe('did b')
    expect(replay.response.replayedFrom).toBeDefined()
  })

  it('refuses nobody who joins: the next one decides on them', async () => {
    const { submit, batches, open, isHeld } = recorder({}, () => true)
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const refused = submit({ name: 'b', behaviour: 'refuse' }, keyed('refused late'))
    const joins = submit({ name: 'c' }, systemContext('test'))
    open()
    await expect(refused).rejects.toMatchObject({ code: 'not_held' })
    expect(await Promise.all([first, joins])).toEqual(['did a', 'did c'])
    expect(batches).toEqual([['a', 'b', 'c'], ['b']])
    expect(await effects()).toEqual(['a', 'c'])
  })

  it('puts those who can’t join back where they were', async () => {
    const { submit, batches, open, isHeld } = recorder({ batchMax: 3 }, ({ name }) => name !== 'b')
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const others = [
      submit({ name: 'b' }, systemContext('test')),
      submit({ name: 'c', behaviour: 'refuse' }, systemContext('test')).catch(() => {}),
      submit({ name: 'd' }, systemContext('test')),
      submit({ name: 'e' }, systemContext('test')),
    ]
    open()
    await Promise.all([first, ...others])
    expect(batches).toEqual([
      ['a', 'c', 'd'],
      ['b', 'c', 'e'],
    ])
  })

  it('tells those that have joined, once, when the connection drops', async () => {
    const { submit, open, isHeld } = recorder({}, () => true)
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const joins = submit({ name: 'b', behaviour: 'drop-connection' }, systemContext('test'))
    open()
    await expect(first).rejects.toMatchObject({ code: 'unavailable' })
    await expect(joins).rejects.toMatchObject({ code: 'unavailable' })
    expect(await effects()).toEqual([])
  })

  it('answers after the commit, with a token that covers it', async () => {
    const { submit, open } = recorder()
    open()
    const context = systemContext('test')
    await submit({ name: 'a' }, context)
    expect(await effects()).toEqual(['a'])
    expect(context.response.consistencyToken).toMatch(/^[0-9A-F]+-[0-9A-F]+\/[0-9A-F]+$/)
  })

  it('refuses one and does the others', async () => {
    const { submit, open, isHeld } = recorder()
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const refused = submit({ name: 'b', behaviour: 'refuse' }, systemContext('test'))
    const last = submit({ name: 'c' }, systemContext('test'))
    open()
    await expect(refused).rejects.toMatchObject({ code: 'not_held' })
    expect(await Promise.all([first, last])).toEqual(['did a', 'did c'])
    expect(await effects()).toEqual(['a', 'c'])
  })

  it('runs its members one by one if it fails as a whole, so that only the cause fails', async () => {
    const { submit, batches, open, isHeld } = recorder()
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const poison = submit({ name: 'b', behaviour: 'poison' }, systemContext('test'))
    const last = submit({ name: 'c' }, systemContext('test'))
    open()
    await expect(poison).rejects.toMatchObject({ code: '22012' })
    expect(await Promise.all([first, last])).toEqual(['did a', 'did c'])
    expect(batches).toEqual([['a'], ['b', 'c'], ['b'], ['c']])
    expect(await effects()).toEqual(['a', 'c'])
  })

  it('keeps nothing of a batch whose writes have failed before they were sent, and stores no answer', async () => {
    const { submit, open, isHeld, batches } = recorder()
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const context = keyed('beside a stale one')
    const beside = submit({ name: 'b' }, context)
    const stale = submit({ name: 'c', behaviour: 'stale-once' }, systemContext('test'))
    open()
    expect(await Promise.all([first, beside, stale])).toEqual(['did a', 'did b', 'did c'])
    expect(batches).toEqual([['a'], ['b', 'c'], ['b', 'c']])
    expect(await effects()).toEqual(['a', 'b', 'c'])
    expect(context.response.replayedFrom).toBeUndefined()
  })

  it('keeps nothing of a batch of whose writes one could not be sent', async () => {
    const { submit, open, isHeld } = recorder()
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const beside = submit({ name: 'b' }, systemContext('test'))
    const wrong = submit({ name: 'c', behaviour: 'undefined' }, systemContext('test'))
    open()
    await expect(wrong).rejects.toThrow('a parameter of a statement is undefined')
    expect(await Promise.all([first, beside])).toEqual(['did a', 'did b'])
    expect(await effects()).toEqual(['a', 'b'])
  })

  it('leaves out whoever has gone by the time that it is their turn, when it runs one by one', async () => {
    const { submit, batches, open, isHeld } = recorder()
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const poison = submit({ name: 'b', behaviour: 'poison' }, systemContext('test'))
    // This client disconnects while the request before it is run alone, in the third transaction.
    const gone = submit({ name: 'c' }, { ...systemContext('test'), isGone: () => batches.length > 2 })
    const last = submit({ name: 'd' }, systemContext('test'))
    open()
    await expect(poison).rejects.toMatchObject({ code: '22012' })
    await expect(gone).rejects.toMatchObject({ code: 'client_closed_request' })
    expect(await Promise.all([first, last])).toEqual(['did a', 'did d'])
    expect(batches).toEqual([['a'], ['b', 'c', 'd'], ['b'], ['d']])
    expect(await effects()).toEqual(['a', 'd'])
  })

  it('fails all of its members, once, when the connection drops, and leaves nothing behind', async () => {
    const { submit, batches, open, isHeld } = recorder()
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const dropped = submit({ name: 'b', behaviour: 'drop-connection' }, systemContext('test'))
    const beside = submit({ name: 'c' }, systemContext('test'))
    open()
    await first
    await expect(dropped).rejects.toMatchObject({ code: 'unavailable' })
    await expect(beside).rejects.toMatchObject({ code: 'unavailable' })
    expect(batches).toEqual([['a'], ['b', 'c']])
    expect(await submit({ name: 'd' }, systemContext('test'))).toBe('did d')
    expect(await effects()).toEqual(['a', 'd'])
  })

  it('leaves out whoever has gone by the time that their transaction begins', async () => {
    const { submit, batches, open, isHeld } = recorder()
    let isGone = false
    const first = submit({ name: 'a' }, { ...systemContext('test'), isGone: () => isGone })
    await isHeld
    const gone = submit({ name: 'b' }, { ...systemContext('test'), isGone: () => isGone })
    const last = submit({ name: 'c' }, systemContext('test'))
    isGone = true
    open()
    await expect(gone).rejects.toMatchObject({ code: 'client_closed_request' })
    expect(await Promise.all([first, last])).toEqual(['did a', 'did c'])
    expect(batches).toEqual([['a'], ['c']])
    expect(await effects()).toEqual(['a', 'c'])
  })

  it('takes no more than its bound, and refuses what the queue can’t hold', async () => {
    const { submit, batches, open, isHeld } = recorder({ batchMax: 2, queueMax: 3 })
    const first = submit({ name: 'a' }, systemContext('test'))
    await isHeld
    const others = ['b', 'c', 'd'].map((name) => submit({ name }, systemContext('test')))
    await expect(submit({ name: 'e' }, systemContext('test'))).rejects.toMatchObject({ code: 'overloaded' })
    open()
    await Promise.all([first, ...others])
    expect(batches).toEqual([['a'], ['b', 'c'], ['d']])
  })

  it('keeps apart, in their order, what must not share a transaction', async () => {
    const { submit, batches, open, isHeld } = recorder({ keysOf: ({ name }) => [name[0] ?? ''] })
    const first = submit({ name: 'x1' }, systemContext('test'))
    await isHeld
    const others = ['x2', 'y1', 'x3', 'y2', 'z1'].map((name) => submit({ name }, systemContext('test')))
    open()
    await Promise.all([first, ...others])
    expect(batches).toEqual([['x1'], ['x2', 'y1', 'z1'], ['x3', 'y2']])
  })

  it('has one effect for equal requests under one key, and answers them alike', async () => {
    const { submit, open } = recorder()
    open()
    const contexts = Array.from({ length: 40 }, () => keyed('k1'))
    const answers = await Promise.all(contexts.map((context) => submit({ name: 'a' }, context)))
    expect(new Set(answers)).toEqual(new Set(['did a']))
    expect(contexts.filter(({ response }) => response.replayedFrom).length).toBe(39)
    expect(await effects()).toEqual(['a'])
  })

  it('refuses another request under a used key, and replays a refusal', async () => {
    const { submit, open } = recorder()
    open()
    await submit({ name: 'a' }, keyed('k2'))
    await expect(submit({ name: 'b' }, keyed('k2', 'other'))).rejects.toMatchObject({ code: 'idempotency_key_reused' })
    await expect(submit({ name: 'c', behaviour: 'refuse' }, keyed('k3'))).rejects.toMatchObject({
      code: 'not_held',
    })
    const again = keyed('k3')
    await expect(submit({ name: 'c' }, again)).rejects.toMatchObject({ code: 'not_held' })
    expect(again.response.replayedFrom).toBe('r')
    expect(await effects()).toEqual(['a'])
  })
})
