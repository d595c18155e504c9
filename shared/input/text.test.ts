import { describe, expect, it } from 'vitest'
import { lineOfText, linesOfText } from './text.ts'

describe('a line of text', () => {
  const line = lineOfText(3)
  it.each(['', 'abc', '語語語', '😀😀😀', '\u00a0', '\u{10ffff}'])('may be %j: characters are code points', (text) => {
    expect(line.safeParse(text).success).toBe(true)
  })

  it.each(['abcd', '😀😀😀😀', 'a\n', '\t', '\0', '\u007f', '\u0080', '\u009f', '\ud800', '\udc00\ud800', 1])(
    'is not %j',
    (text) => expect(line.safeParse(text).success).toBe(false),
  )
})

it('lines of text may have tabs and line breaks, and no other control characters', () => {
  const lines = linesOfText(100)
  expect(lines.safeParse('a\tb\r\nc').success).toBe(true)
  for (const text of ['\v', '\f', '\u001b[31m', '\0']) expect(lines.safeParse(text).success).toBe(false)
})
