interface Batch<Question, Answer> {
  questions: Question[]
  answers: Promise<Answer[]>
  send: () => void
}

/**
 * Gathers what is asked in one turn of the event loop and asks it at its end, or as soon as there are `max` questions; `ask` gives
 * the answers in the order of the questions, or fails for all of them.
 */
export function inBatches<Question, Answer>(
  max: number,
  ask: (questions: Question[]) => Promise<Answer[]>,
): (question: Question) => Promise<Answer> {
  let open: Batch<Question, Answer> | undefined
  function begin(): Batch<Question, Answer> {
    const questions: Question[] = []
    let send = () => {}
    const sent = new Promise<void>((resolve) => {
      send = resolve
      setImmediate(resolve)
    })
    const answers = sent.then(() => {
      if (open?.questions === questions) open = undefined
      return ask(questions)
    })
    return { questions, answers, send }
  }
  return async (question) => {
    open ??= begin()
    const { questions, answers, send } = open
    const index = questions.push(question) - 1
    if (questions.length === max) {
      open = undefined
      send()
    }
    return (await answers)[index] as Answer
  }
}
