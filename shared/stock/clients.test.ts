import fc from 'fast-check'
import { afterAll, expect, it, vi } from 'vitest'
import { environment } from '#config'
import * as stock from '#stock'
import { expectConsistent } from '#testing'
import { type Line, LOCATIONS, openShop, type Request, type Shop } from './testing/history.ts'
import { expectLinearizable } from './testing/linearize.ts'

// Several clients at once, each with a random list of commands, on two instances of the stock module, which stand for two processes. The order in
// which the commands take effect is not known beforehand. But the ledger shows it afterwards, and then the rules determine what each answer must
// have been. See `expectLinearizable`.
//
// A failure prints its seed and the shortest lists that failed. `MODEL_SEED=<seed> npx vitest run shared/stock/clients.test.ts`
// draws the same lists again; how they interleave is up to the machine, so it may take more than one attempt.

const CLIENTS = 4
const COMMANDS_MAX = 10
const RUNS = 100
const { MODEL_SEED } = environment()

/** What a client knows: the answers that it must get again. */
interface View {
  shop: Shop
  client: number
  told: Map<string, string>
}

type Command = fc.AsyncCommand<View, Shop>

function command(describe: string, requestOf: (shop: Shop) => Request | undefined): Command {
  return {
    check: ({ shop }) => requestOf(shop) !== undefined,
    async run({ client, told }, shop) {
      const request = requestOf(shop)
      if (!request) return
      if (request.kind === 'expire') shop.overdue.add(request.id)
      const { code } = await shop.ask(client, request)
      if (request.kind !== 'confirm' && request.kind !== 'release') return
      // A settled hold stays settled: a repeated request must get the same answer.
      const name = `${request.kind} ${request.id}`
      expect(code, name).toBe(told.get(name) ?? code)
      told.set(name, code)
    },
    toString: () => describe,
  }
}

const product = fc.constantFrom(0, 1)
const place = fc.constantFrom(...LOCATIONS)
const lines = fc.array(
  fc.record({
    product,
    quantity: fc.integer({ min: 1, max: 4 }),
    location: fc.option(place, { nil: undefined, freq: 2 }),
  }),
  { minLength: 1, maxLength: 3 },
)
const cart = fc.option(fc.constantFrom('one', 'two'), { nil: undefined, freq: 2 })

const lineOf = (shop: Shop, { product: index, ...line }: { product: number; quantity: number }): Line => ({
  ...line,
  productId: shop.productIds[index] ?? '',
})

const reserve = fc.record({ lines, cart }).map((wanted) =>
  command(`reserve ${fc.stringify(wanted)}`, (shop) => ({
    kind: 'reserve',
    lines: wanted.lines.map((line) => lineOf(shop, line)),
    cart: wanted.cart,
    key: undefined,
  })),
)

/** The request follows from the key, so that all users of a key send the same request. */
const reserveUnderKey = fc.constantFrom(1, 2).map((quantity) =>
  command(`reserve under key ${quantity}`, (shop) => ({
    kind: 'reserve',
    lines: shop.productIds.map((productId) => ({ productId, quantity })),
    cart: undefined,
    key: `key ${quantity}`,
  })),
)

const adjustment = fc.record({
  product,
  location: place,
  quantity: fc.integer({ min: -5, max: 4 }).filter((quantity) => quantity !== 0),
})
/** One adjustment, or several at once, each at a different place. */
const adjust = fc
  .uniqueArray(adjustment, {
    minLength: 1,
    maxLength: 3,
    selector: ({ product: index, location }) => `${index} ${location}`,
  })
  .map((changes) =>
    command(`adjust ${fc.stringify(changes)}`, ({ productIds }) => ({
      kind: 'adjust',
      lines: changes.map(({ product: index, ...line }) => ({ ...line, productId: productIds[index] ?? '' })),
    })),
  )

/** Any client may change another's hold. */
const settle = fc
  .record({
    kind: fc.constantFrom('confirm' as const, 'confirm' as const, 'release' as const, 'extend' as const),
    which: fc.nat({ max: 30 }),
  })
  .map(({ kind, which }) =>
    command(`${kind} ${which}`, ({ known }) => {
      const id = known[which % known.length]
      return id === undefined ? undefined : { kind, id }
    }),
  )

const expire = fc.nat({ max: 30 }).map((which) =>
  command(`expire ${which}`, ({ known, overdue }) => {
    const due = known.filter((id) => !overdue.has(id))
    const id = due[which % due.length]
    return id === undefined ? undefined : { kind: 'expire', id }
  }),
)

const look = product.map((index) =>
  command(`look ${index}`, ({ productIds }) => ({ kind: 'look', productId: productIds[index] ?? '' })),
)
const sweep = fc.constant(command('sweep', () => ({ kind: 'sweep' })))

const commands = fc.commands<View, Shop, false>(
  [reserve, reserve, reserve, reserveUnderKey, reserveUnderKey, adjust, settle, settle, settle, expire, look, sweep],
  { maxCommands: COMMANDS_MAX, size: 'max' },
)

/** A second instance of the module, with its own queue and connections, as in another process. */
async function anotherInstance(): Promise<{ stock: typeof stock; close: () => Promise<void> }> {
  const settings = environment()
  vi.resetModules()
  const { overrideEnvironment: override } = await import('#config')
  override({ DATABASE_URL: settings.DATABASE_URL, LOG_LEVEL: settings.LOG_LEVEL })
  const { closeDatabase } = await import('#database')
  return { stock: await import('#stock'), close: closeDatabase }
}

const another = await anotherInstance()
afterAll(another.close)
afterAll(expectConsistent)

it('whatever several clients do at once, there is an order of it that explains every answer', async () => {
  expect(another.stock.reserve).not.toBe(stock.reserve)
  const clients = fc.array(commands, { minLength: CLIENTS, maxLength: CLIENTS, size: 'max' })
  const property = fc.asyncProperty(clients, async (lists) => {
    const shop = await openShop([stock, another.stock])
    const runs = lists.map((list, client) =>
      fc.asyncModelRun(() => ({ model: { shop, client, told: new Map() }, real: shop }), list),
    )
    for (const run of await Promise.allSettled(runs)) if (run.status === 'rejected') throw run.reason
    await expectLinearizable(shop)
  })
  await fc.assert(property, { numRuns: RUNS, ...(MODEL_SEED !== undefined && { seed: Number(MODEL_SEED) }) })
}, 120_000)
