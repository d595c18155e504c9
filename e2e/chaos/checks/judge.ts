import { waitUntil } from '../../../infra/local/waits.ts'
import { type Client, parsed } from '../load/client.ts'
import { importedPrefix } from '../load/imports.ts'
import type { Load } from '../load/load.ts'
import type { Checker } from './checker.ts'
import { compare } from './compare.ts'
import type { Truth } from './history.ts'
import { FROM_PRIMARY, PAGE, readTruth } from './truth.ts'

/** The shortest holds last 5 s, and the sweep ends them within a second. */
const EXPIRY_MS = 30_000
const DELIVERY_MS = 60_000

/** Waits until everything has settled after the load, compares the acknowledged state with the actual state, and returns the latter. */
export async function judge(client: Client, checker: Checker, load: Load, seed: number): Promise<Truth> {
  await untilSwept(client, checker)
  const truth = await readTruth(client, [...checker.levels.keys()])
  const isTold = () => [...truth.versions].every(([id, last]) => checker.untold(id, last).length === 0)
  await waitUntil(isTold, DELIVERY_MS)
  compare(checker, truth)
  await checkImports(client, checker, load, seed)
  await checkRepeats(client, checker, load)
  return truth
}

/** Waits for the holds that are about to expire. The comparison finds a hold that does not. */
async function untilSwept({ decide }: Client, { holds }: Checker): Promise<void> {
  const soon = Date.now() + EXPIRY_MS
  const ending = [...holds].flatMap(([id, { state, expiresAt }]) => (state === 'held' && expiresAt < soon ? [id] : []))
  const isHeld = async (id: string) => {
    const answer = await decide({ operation: 'GET /v1/reservations/{reservationId}', ids: [id], token: FROM_PRIMARY })
    return answer && parsed<{ state: string }>(answer).state === 'held'
  }
  await waitUntil(async () => !(await Promise.all(ending.map(isHeld))).includes(true), EXPIRY_MS, 500)
}

/** Compares the imported products with the acknowledged imports. */
async function checkImports(
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
  // The products that every import renames.
  const query = `?limit=${PAGE}&search=${importedPrefix(seed)}C`
  const answer = await decide({ operation: 'GET /v1/products', query, token: FROM_PRIMARY })
  const { items } = answer ? parsed<{ items: Array<{ sku: string; name: string }> }>(answer) : { items: [] }
  for (const { sku, name } of items) {
    if (imported.get(sku)?.name !== name)
      checker.find('nothing lost', `${sku} is called ${name}, and should be ${imported.get(sku)?.name}`)
  }
}

/** Repeats decided writes: each must get the same answer again, and do nothing. */
async function checkRepeats({ decide }: Pick<Client, 'decide'>, checker: Checker, { decided }: Load): Promise<void> {
  for (const { request, answer } of decided) {
    const again = await decide(request)
    if (!again?.isReplay || again.status !== answer.status || again.text !== answer.text)
      checker.find('nothing doubled', `${request.key} was answered ${answer.text}, and then ${again?.text}`)
  }
}
