import type { Movement, Reservation } from '#stock/schema'
import type { Checker } from './checker.ts'
import { type Client, parsed, type Request } from './client.ts'
import type { Truth } from './history.ts'
import { importedPrefix } from './imports.ts'
import type { Load } from './load.ts'

const PAGE = 100
/** Pages of one list: more than a run of an hour makes. */
const PAGES_MAX = 5_000
/** A token of another timeline, which only the primary may answer. */
const FROM_PRIMARY = '0-0/1'

/** Asks for all that is there of the products that the checker knows. Throws where an answer stays away. */
export async function readTruth(client: Client, productIds: readonly string[]): Promise<Truth> {
  const get = async <Body>(request: Request): Promise<Body> => {
    const answer = await client.decide({ ...request, token: FROM_PRIMARY })
    if (answer?.status !== 200) throw new Error(`${request.operation} was answered ${answer?.text}`)
    return parsed<Body>(answer)
  }
  const list = async <Item>(request: Request): Promise<Item[]> => {
    const items: Item[] = []
    let cursor = ''
    for (let page = 0; page < PAGES_MAX; page++) {
      const query = `?limit=${PAGE}${request.query ?? ''}${cursor}`
      const answer = await get<{ items: Item[]; nextCursor: string | null }>({ ...request, query })
      items.push(...answer.items)
      if (answer.nextCursor === null) return items
      cursor = `&cursor=${encodeURIComponent(answer.nextCursor)}`
    }
    throw new Error(`${request.operation} has no end`)
  }
  const at = Date.now()
  const levels = new Map<string, { onHand: number; reserved: number }>()
  const versions = new Map<string, number>()
  const movements = new Map<string, Movement[]>()
  const reservations = new Map<string, Reservation>()
  const body = { items: productIds.map((productId) => ({ productId })) }
  const { items } = await get<{
    items: Array<{ productId: string; onHand: number; reserved: number; version: number }>
  }>({
    operation: 'POST /v1/stock/availability',
    body,
  })
  for (const { productId, onHand, reserved, version } of items) {
    levels.set(productId, { onHand, reserved })
    versions.set(productId, version)
    const ids = [productId]
    const rows = await list<Movement>({ operation: 'GET /v1/products/{productId}/stock/movements', ids })
    movements.set(productId, rows.reverse())
    const query = `&productId=${productId}`
    for (const each of await list<Reservation>({ operation: 'GET /v1/reservations', query }))
      reservations.set(each.id, each)
  }
  const { consistent } = await get<{ consistent: boolean }>({ operation: 'GET /v1/stock/audit' })
  return { at, levels, movements, reservations: [...reservations.values()], versions, isConsistent: consistent }
}

/** Compares the products that were imported with what the imports have acknowledged. */
export async function checkImports(
  { decide }: Pick<Client, 'decide'>,
  checker: Checker,
  { imported }: Load,
  seed: number,
): Promise<void> {
  const skus = [...imported.keys()]
  for (let start = 0; start < skus.length; start += PAGE) {
    const items = skus.slice(start, start + PAGE).map((sku) => ({ sku }))
    const answer = await decide({ operation: 'POST /v1/stock/availability', body: { items }, token: FROM_PRIMARY })
    const found = answer && parsed<{ items: Array<{ sku: string; onHand: number }> }>(answer)
    for (const { sku } of items) {
      const onHand = found?.items.find((item) => item.sku === sku)?.onHand
      const expected = imported.get(sku)?.onHand
      if (onHand !== expected)
        checker.find('nothing doubled', `${sku} was imported with ${expected} on hand, and has ${onHand}`)
    }
  }
  // Those that every import renames.
  const query = `?limit=${PAGE}&search=${importedPrefix(seed)}C`
  const answer = await decide({ operation: 'GET /v1/products', query, token: FROM_PRIMARY })
  const { items } = answer ? parsed<{ items: Array<{ sku: string; name: string }> }>(answer) : { items: [] }
  for (const { sku, name } of items) {
    if (imported.get(sku)?.name !== name)
      checker.find('nothing lost', `${sku} is called ${name}, and should be ${imported.get(sku)?.name}`)
  }
}

/** Repeats writes that were decided: each gives the same answer again, and does nothing. */
export async function checkRepeats(
  { decide }: Pick<Client, 'decide'>,
  checker: Checker,
  { decided }: Load,
): Promise<void> {
  for (const { request, answer } of decided) {
    const again = await decide(request)
    if (!again?.isReplay || again.status !== answer.status || again.text !== answer.text)
      checker.find('nothing doubled', `${request.key} was answered ${answer.text}, and then ${again?.text}`)
  }
}
