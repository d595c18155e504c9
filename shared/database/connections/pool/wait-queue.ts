import { overloaded, type ServiceError } from '#errors'

export interface WaitQueue<Item> {
  length: () => number
  /** Resolves with an item, first come, first served. Throws or rejects with `overloaded` if the queue is full, or the wait is too long. */
  wait: () => Promise<Item>
  /** Gives an item to the first one that waits. At least one must wait. */
  give: (item: Item) => void
}

/** Transactions that wait for a connection: `waitersMax` at most, each for `waitMs` at most. */
export function createWaitQueue<Item>(waitersMax: number, waitMs: number): WaitQueue<Item> {
  const waiting: Array<(item: Item) => void> = []
  return {
    length: () => waiting.length,
    wait() {
      if (waiting.length >= waitersMax) throw allBusy()
      return new Promise((resolve, reject) => {
        const take = (item: Item) => {
          clearTimeout(timer)
          resolve(item)
        }
        const timer = setTimeout(() => {
          waiting.splice(waiting.indexOf(take), 1)
          reject(allBusy())
        }, waitMs)
        waiting.push(take)
      })
    },
    give: (item) => waiting.shift()?.(item),
  }
}

function allBusy(): ServiceError {
  return overloaded('Every database connection is busy. Try again shortly.')
}
