import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { shutDown } from '#async'
import type { Tracing } from '#telemetry'
import '#testing'
import { type Collector, openCollector, traceTo } from '#testing/otlp'
import type { Sql } from '../connections/connect.ts'
import { systemContext } from '../request-context.ts'
import { StaleRead } from '../transactions/failures.ts'
import { transaction } from '../transactions/transaction.ts'
import type { Member } from './answers.ts'
import { groupCommit } from './group-commit.ts'

const UNSAMPLED = { traceparent: `00-${'c'.repeat(32)}-${'d'.repeat(16)}-00`, tracestate: undefined }
const NAME = 'group commit test'

let collector: Collector
let on: Tracing

beforeAll(async () => {
  collector = await openCollector()
})

beforeEach(async () => {
  collector.spans.length = 0
  const started = await traceTo(collector)
  if (!started) throw new Error('tracing is off')
  on = started
})

afterEach(() => vi.unstubAllEnvs())

afterAll(() => collector.close())

/** A group whose batches each wait for `pass`, or fail. */
function createGroup(
  outcome: (members: Array<Member<string>>) => Error | undefined = () => undefined,
  takesLate = true,
) {
  const waiting: Array<() => void> = []
  const submit = groupCommit<string, string>({
    name: 'test',
    batchMax: 10,
    queueMax: 10,
    async open(tx: Sql, members) {
      await new Promise<void>((resolve) => waiting.push(resolve))
      const error = outcome(members)
      if (error) throw error
      return { covers: () => takesLate, decide: ({ request }) => ({ result: request }), write: () => tx`select 1` }
    },
  })
  const pass = () =>
    vi.waitFor(() => waiting.length > 0 || Promise.reject(new Error('no batch waits'))).then(() => waiting.shift()?.())
  /** Sends a request in a span of its own. */
  const send = async (name: string, parent: typeof UNSAMPLED | null = null) => {
    const span = on.start(name, { parent })
    await on.run(span, () => submit(name, systemContext('function:test'))).finally(() => span.end())
  }
  return { send, pass }
}

async function received() {
  await shutDown()
  const named = (name: string) => collector.spans.filter((span) => span.name === name)
  const linked = (span: { links: Array<{ spanId: string }> } | undefined) =>
    span?.links.map(({ spanId }) => collector.spans.find((other) => other.spanId === spanId)?.name).sort()
  return { named, linked }
}

describe('a batch', () => {
  it('is a trace of its own, linked with its recorded requests and they with it, late joiners too', async () => {
    const { send, pass } = createGroup()
    const first = send('first')
    const late = [send('late'), send('not recorded', UNSAMPLED)]
    await pass()
    await Promise.all([first, ...late])
    const { named, linked } = await received()
    const [batch, ...others] = named(NAME)
    expect(others).toEqual([])
    expect(batch).toMatchObject({ parentSpanId: undefined, attributes: { 'group_commit.batch_size': 3 } })
    expect(linked(batch)).toEqual(['first', 'late'])
    for (const name of ['first', 'late']) expect(linked(named(name)[0])).toEqual([NAME])
    const statements = collector.spans.filter(({ parentSpanId }) => parentSpanId === batch?.spanId)
    expect(statements.map(({ name }) => name)).toEqual(expect.arrayContaining(['BEGIN', 'COMMIT']))
  })

  it('that begins with no recorded request is linked with one that joins late', async () => {
    const { send, pass } = createGroup()
    const first = send('not recorded', UNSAMPLED)
    const late = send('late')
    await pass()
    await Promise.all([first, late])
    const { named, linked } = await received()
    const expected = { parentSpanId: undefined, attributes: { 'group_commit.batch_size': 2 } }
    expect(named(NAME)).toMatchObject([expected])
    expect(linked(named(NAME)[0])).toEqual(['late'])
    expect(linked(named('late')[0])).toEqual([NAME])
  })

  it('of no recorded request is not recorded, nor are its statements', async () => {
    const { send, pass } = createGroup()
    const first = send('first')
    await pass()
    await first
    const other = send('not recorded', UNSAMPLED)
    await pass()
    await other
    const { named } = await received()
    expect(named(NAME)).toHaveLength(1)
    expect(named('BEGIN')).toHaveLength(1)
  })

  it('that fails is a failure, and each of its requests is linked with the batch that it gets alone, too', async () => {
    const { send, pass } = createGroup((members) => (members.length > 1 ? new Error('refused') : undefined), false)
    const first = send('first')
    const others = [send('second'), send('third')]
    for (let batch = 0; batch < 4; batch++) await pass()
    await Promise.all([first, ...others])
    const { named, linked } = await received()
    expect(named(NAME).map(({ failed }) => failed)).toEqual([false, true, false, false])
    expect(linked(named('second')[0])).toEqual([NAME, NAME])
  })

  it('or a transaction that the database refuses has the code, and not the message, which quotes a value', async () => {
    const unfit = (tx: Sql) => tx`select ${'a-client’s-value'}::text::uuid`
    const submit = groupCommit<string, string>({ name: 'test', batchMax: 10, queueMax: 10, open: unfit as never })
    const span = on.start('request', { parent: null })
    await on.run(span, async () => {
      await expect(transaction(systemContext('function:test'), unfit)).rejects.toThrow('a-client’s-value')
      await expect(submit('request', systemContext('function:test'))).rejects.toThrow('a-client’s-value')
    })
    span.end()
    const { named } = await received()
    const refused = { failed: true, attributes: { 'error.type': '22P02' } }
    for (const name of ['transaction', NAME]) expect(named(name)).toMatchObject([refused])
    expect(JSON.stringify(collector.spans)).not.toContain('a-client’s-value')
  })

  it('or a transaction that is run again tells of it in an event', async () => {
    let attempts = 0
    const work = async (tx: Sql) => {
      if (++attempts === 1) throw new StaleRead('the first')
      return tx`select 1`
    }
    const span = on.start('request', { parent: null })
    await on.run(span, () => transaction(systemContext('function:test'), work))
    span.end()
    const { named } = await received()
    expect(named('transaction')).toMatchObject([
      { events: [{ name: 'retry', attributes: { reason: 'stale_read', attempt: 1 } }] },
    ])
    expect(named('BEGIN')).toHaveLength(2)
  })
})
