import type { Movement, Reservation } from '#stock/schema'
import { type Client, parsed, type Request } from '../load/client.ts'
import type { Truth } from './history.ts'

export const PAGE = 100
/** The most pages of one list: more than a run of an hour makes. */
const PAGES_MAX = 5_000
/** A token of another timeline. Only the primary may answer a read with it. */
export const FROM_PRIMARY = '0-0/1'

/** Reads the whole state of the products that the checker knows. Throws if an answer does not come. */
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
