interface Waiting<Item, Result> {
  item: Item
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

/**
 * Makes one of many: the items that are given while a batch is in flight, and those of one turn of the event loop, are worked on
 * together, `max` at most. `run` gives a result for each, in their order. If it fails, each gets a run of its own, so that none
 * fails for another. How many may wait is the affair of those who give.
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
