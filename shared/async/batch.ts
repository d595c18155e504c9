interface Waiting<Item, Result> {
  item: Item
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

/**
 * Runs items in batches of at most `max`: items that arrive in one turn of the event loop, or while a batch is in flight, make up the next batch.
 * `run` returns the results in the order of the items. If it fails, each item gets a run of its own, so that no item fails because of another. The
 * caller must bound the number of waiting items.
 *
 * @example
 * const insert = batched(200, (rows: Row[]) => insertAll(rows))
 */
export function batched<Item, Result>(
  max: number,
  run: (items: Item[]) => Promise<Result[]>,
): (item: Item) => Promise<Result> {
  const waiting: Array<Waiting<Item, Result>> = []
  let isRunning = false

  async function runAll(): Promise<void> {
    while (waiting.length > 0) await runBatch(waiting.splice(0, max))
    isRunning = false
  }

  async function runBatch(batch: Array<Waiting<Item, Result>>): Promise<void> {
    try {
      const results = await run(batch.map(({ item }) => item))
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result)
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error)
      else await Promise.all(batch.map((each) => runBatch([each])))
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      if (isRunning) return
      isRunning = true
      setImmediate(runAll)
    })
}
