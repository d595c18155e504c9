import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { allFunctions } from '#testing/functions'
import { openApiOf } from './index.ts'

const patterns = [...new Set(patternsIn(openApiOf(await allFunctions(), '0.0.0')))]

/** The patterns that regular expressions of JavaScript (with and without its flag `u`), Python, Go, Java and .NET read in the same way. */
const PORTABLE =
  /^\^(?:\[\^?(?:[^[\]\\]|\\[\\[\]\-"^dtnr]|\\x[0-9a-f]{2})+\]|\((?:\?:)?|\)|\||\{\d+(?:,\d*)?\}|[*+?]|\\[dtnr.*\\"]|[\w\-":,~ /])*\$$/

describe('the patterns of the description', () => {
  it('are there', () => expect(patterns.length).toBeGreaterThan(3))

  it.each(patterns)('%s is written for every language', (pattern) => {
    expect(pattern).toMatch(PORTABLE)
    expect(() => [new RegExp(pattern), new RegExp(pattern, 'u')]).not.toThrow()
  })

  it.each(['^\\p{L}$', '^(?=a)$', '^(?<!a)b$', '^(?<name>a)$', '^(a)\\1$', '^\\u0000$', '^[\\w-]$', 'a'])(
    '%s is not',
    (pattern) => expect(pattern).not.toMatch(PORTABLE),
  )

  const python = 'import json, re, sys\nfor pattern in json.load(sys.stdin): re.compile(pattern)'
  it('are compiled by Python', (context) => compile(context, 'python3', ['-c', python]))
})

/** Compiles the patterns in another language; skips the test if there is no such program. */
function compile(context: { skip: (note: string) => void }, program: string, args: string[]): void {
  const { error, status, stderr } = spawnSync(program, args, { input: JSON.stringify(patterns), encoding: 'utf8' })
  if (error) context.skip(`${program}: ${error.message}`)
  expect(stderr).toBe('')
  expect(status).toBe(0)
}

function patternsIn(json: unknown): string[] {
  if (Array.isArray(json)) return json.flatMap(patternsIn)
  if (typeof json !== 'object' || json === null) return []
  return Object.entries(json).flatMap(([name, value]) =>
    name === 'pattern' && typeof value === 'string' ? [value] : patternsIn(value),
  )
}
