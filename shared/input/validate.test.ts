import { expect, it } from 'vitest'
import * as z from 'zod'
import { validate } from './validate.ts'

const Product = z.strictObject({
  name: z.string().trim().min(1).max(10),
  tags: z.array(z.string().max(10)).max(2).optional(),
  attributes: z.record(z.string(), z.unknown()).optional(),
})

it.each([
  [{ name: { length: { toString: 0 } } }, 'name'],
  [{ name: 'Bolt', tags: { length: [{ valueOf: 0, toString: 0 }] } }, 'tags'],
  [{ name: 'Bolt', tags: [{ length: { toString: 0 } }] }, 'tags.0'],
])('refuses %j, whose length can be compared with nothing, and names its path', (input, path) => {
  expect(() => validate(Product, input)).toThrow(
    expect.objectContaining({ code: 'validation_failed', issues: [expect.objectContaining({ path })] }),
  )
})

it('keeps a member of free form that has such a length', () => {
  const input = { name: 'Bolt', attributes: { length: { toString: 0 } } }
  expect(validate(Product, input)).toEqual(input)
})
