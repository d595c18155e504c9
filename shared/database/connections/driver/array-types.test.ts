import { describe, expect, it } from 'vitest'
import { sql } from '#testing'
import { primary } from '../connections.ts'
import { arrayTypes } from './array-types.ts'

const odd = [
  '',
  ' ',
  'null',
  'NULL',
  'Null',
  null,
  '{}',
  '{a,b}',
  ',',
  '"',
  '\\',
  '\\"',
  "'",
  'a\nb\tc',
  'größe 🚚',
  '\u0001',
  '-1',
  '(x)',
]

describe('an array literal', () => {
  it.each([
    ['text', odd],
    ['text', []],
    ['text', [...'abc']],
    ['text', [JSON.stringify({ reason: 'a "quoted" \\ word', list: [1, null, '{}'] })]],
  ])('of %s is read by PostgreSQL as what it was made of: %j', async (_, values) => {
    const [row] = await primary()`select to_json(${values}::text[]) as json, ${values}::text[] as texts`
    expect(row).toEqual({ json: values, texts: values })
  })

  it.each([
    ['int', [0, -1, 2_147_483_647, null]],
    ['bigint', [0, -1, Number.MAX_SAFE_INTEGER, null]],
    ['uuid', ['01890000-0000-7000-8000-00000000000f', null]],
  ])('serves every type of array that has a cast: %s', async (type, values) => {
    const array = sql.unsafe(`${type}[]`)
    const [row] = await primary()`select to_json(${values}::${array}) as json, ${values}::${array} as "read"`
    expect(row).toEqual({ json: values, read: values })
  })

  it('takes times as the texts that they are', async () => {
    const times = ['2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05.678+05:30']
    const [row] = await primary()`select ${times}::timestamptz[] as "read"`
    expect(row?.read).toEqual(times.map((time) => new Date(time)))
  })

  it('refuses an undefined element, and what would be two', async () => {
    expect(() => arrayTypes.texts.serialize([undefined])).toThrow(TypeError)
    const id = '01890000-0000-7000-8000-00000000000f'
    const smuggled = primary()`select array_length(${[`${id},${id}`]}::uuid[], 1)`
    await expect(smuggled).rejects.toThrow('invalid input syntax for type uuid')
    await expect(primary()`select ${['', id]}::uuid[]`).rejects.toThrow('malformed array literal')
  })
})
