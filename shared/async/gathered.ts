import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Collects items for `waitMs` after the first, or until there are `max`, and runs them together. `run` gives the results in the order of the items,
 * or fails all of them. Several runs may be in flight.
 *
 * @example
 * const deliver = gathered({ max: 100, waitMs: 20 }, (claims: Claim[]) => deliverAll(claims))
 */
export function gathered<Item, Result>(
  { max, waitMs }: { max: number; waitMs: number },
  run: (items: Item[]) => Promise<Result[]>,
): (item: Item) => Promise<Result> {
  let open: { items: Item[]; results: Promise<Result[]>; send: () => void } | undefined

  function begin() {
    const items: Item[] = []
    let send = () => {}
    const full = new Promise<void>((resolve) => {
      send = resolve
    })
    const results = Promise.race([full, sleep(waitMs)]).then(() => {
      if (open?.items === items) open = undefined
      return run(items)
    })
    return { items, results, send }
  }

  return async (item) => {
    open ??= begin()
    const { items, results, send } = open
    const index = items.push(item) - 1
    if (items.length === max) {
      open = undefined
      send()
    }
    return (await results)[index] as Result
  }
}
