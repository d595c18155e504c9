/**
 * Gathers what is asked in one turn of the event loop, `max` questions at most, and asks it at once; `ask` gives the answers in the
 * order of the questions, or fails for all of them.
 */
export function inBatches<Question, Answer>(
  max: number,
  ask: (questions: Question[]) => Promise<Answer[]>,
): (question: Question) => Promise<Answer> {
  let open: { questions: Question[]; answers: Promise<Answer[]> } | undefined
  function begin() {
    const questions: Question[] = []
    const answers = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      if (open?.questions === questions) open = undefined
      return ask(questions)
    })
    return { questions, answers }
  }
  return async (question) => {
    if (!open || open.questions.length >= max) open = begin()
    const { questions, answers } = open
    const index = questions.push(question) - 1
    return (await answers)[index] as Answer
  }
}
