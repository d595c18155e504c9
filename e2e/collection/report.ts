import type { Emitter, Item, Response } from 'newman'
import type { Contradiction } from './contract.ts'

export interface Counts {
  /** Assertions. Each answer adds one: that it matches the OpenAPI document. A missing answer or a script that throws counts as a failed one. */
  passed: number
  failed: number
  skipped: number
}

export type Write = (text: string) => void

/** The most failures of a story that are shown. The others usually follow from them and are only counted. */
const FAILURES_SHOWN_MAX = 20
/** Enough of a body to show the code and the detail of a problem document. */
const EXCERPT_MAX = 600

/** Reports a run story by story: failures, each with the request and its answer, and skipped tests. After `end` it reports nothing more. */
export function reportOn(
  run: Emitter,
  write: Write,
  contradiction: Contradiction,
): { counts: Counts; end: () => void } {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  let story: { name: string; startedAt: number; before: Counts } | undefined
  /** The answer to the current request. `isShown` is true once a failure has shown it. */
  let answer: { response: Response | undefined; isShown: boolean } | undefined
  let hasEnded = false

  const endStory = () => {
    if (story) write(summaryOf(story.before, counts, story.startedAt))
    story = undefined
  }
  const fail = (item: Item, what: string, message: string) => {
    counts.failed++
    if (hasEnded || counts.failed - (story?.before.failed ?? 0) > FAILURES_SHOWN_MAX) return
    write(`  FAILED  ${item.name}: ${what}\n${indent(message)}`)
    if (answer?.response && !answer.isShown) write(indent(excerptOf(answer.response)))
    if (answer) answer.isShown = true
  }
  /** Without an answer, every check fails: one failure is reported for all of them. */
  const isUnanswered = () => answer !== undefined && answer.response === undefined

  run.on('beforeItem', (_, { item }) => {
    answer = undefined
    const name = item.parent()?.name ?? ''
    if (hasEnded || name === story?.name) return
    endStory()
    write(`${name}\n`)
    story = { name, startedAt: performance.now(), before: { ...counts } }
  })
  run.on('request', (error, { item, request, response }) => {
    answer = { response, isShown: false }
    if (error) fail(item, 'no answer', error.message)
    if (!response) return
    const contrary = contradiction(request, response)
    if (contrary === undefined) counts.passed++
    else fail(item, 'is as the OpenAPI document says', contrary)
  })
  run.on('assertion', (error, { item, assertion, skipped }) => {
    if (skipped) {
      counts.skipped++
      if (!hasEnded) write(`  skipped ${item.name}: ${assertion}\n`)
    } else if (!error) counts.passed++
    else if (!isUnanswered()) fail(item, assertion, error.message)
  })
  run.on('script', (error, { item }) => {
    if (error && !isUnanswered()) fail(item, 'its script ended with an error', error.message)
  })
  const end = () => {
    endStory()
    hasEnded = true
  }
  return { counts, end }
}

function summaryOf(before: Counts, after: Counts, startedAt: number): string {
  const failed = after.failed - before.failed
  const skipped = after.skipped - before.skipped
  const parts = [`${after.passed - before.passed} passed`]
  if (failed > FAILURES_SHOWN_MAX) parts.push(`${failed} failed, of which ${FAILURES_SHOWN_MAX} are shown`)
  else if (failed > 0) parts.push(`${failed} failed`)
  if (skipped > 0) parts.push(`${skipped} skipped`)
  return `  ${parts.join(', ')} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)\n`
}

function excerptOf(response: Response): string {
  const body = response.text()
  const rest = body.length > EXCERPT_MAX ? ` … (${body.length} characters)` : ''
  return `answer: ${response.code} ${body.slice(0, EXCERPT_MAX)}${rest}`
}

function indent(text: string): string {
  return `${text.replaceAll(/^/gm, '          ')}\n`
}
