interface Batch<Question, Reply> {
  questions: Question[]
  replies: Promise<Reply[]>
  send: () => void
}

/**
 * Collects questions, and asks them together at the end of the turn of the event loop, or `waitMs` after the first question; in any case as soon as
 * there are `max`. `ask` returns the replies in the order of the questions, or fails all of them. Several batches may be in flight.
 *
 * @example
 * const get = inBatches({ max: 64 }, (keys: string[]) => redis.mget(keys))
 */
export function inBatches<Question, Reply>(
  { max, waitMs }: { max: number; waitMs?: number },
  ask: (questions: Question[]) => Promise<Reply[]>,
): (question: Question) => Promise<Reply> {
  let open: Batch<Question, Reply> | undefined
  function begin(): Batch<Question, Reply> {
    const questions: Question[] = []
    let send = () => {}
    const sent = new Promise<void>((resolve) => {
      send = resolve
      if (waitMs === undefined) setImmediate(resolve)
      else setTimeout(resolve, waitMs)
    })
    const replies = sent.then(() => {
      if (open?.questions === questions) open = undefined
      return ask(questions)
    })
    return { questions, replies, send }
  }
  return async (question) => {
    open ??= begin()
    const { questions, replies, send } = open
    const index = questions.push(question) - 1
    if (questions.length === max) {
      open = undefined
      send()
    }
    return (await replies)[index] as Reply
  }
}
