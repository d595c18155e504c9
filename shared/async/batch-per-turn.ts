interface Batch<Question, Reply> {
  questions: Question[]
  replies: Promise<Reply[]>
  send: () => void
}

/**
 * Collects the questions of one turn of the event loop, and asks them together at its end, or as soon as there are `max`. `ask` gives the
 * replies in the order of the questions, or fails all of them.
 *
 * @example
 * const get = inBatches(64, (keys: string[]) => redis.mget(keys))
 */
export function inBatches<Question, Reply>(
  max: number,
  ask: (questions: Question[]) => Promise<Reply[]>,
): (question: Question) => Promise<Reply> {
  let open: Batch<Question, Reply> | undefined
  function begin(): Batch<Question, Reply> {
    const questions: Question[] = []
    let send = () => {}
    const sent = new Promise<void>((resolve) => {
      send = resolve
      setImmediate(resolve)
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
