import { expect, it } from 'vitest'
import { parseTarget } from './target.ts'

it.each([
  ['latest', { kind: 'latest' }],
  ['20261129-124938F', { kind: 'name', name: '20261129-124938F' }],
  ['20261129-124938F_20261129-124946D', { kind: 'name', name: '20261129-124938F_20261129-124946D' }],
  ['2026-11-29T12:00:00Z', { kind: 'time', at: new Date('2026-11-29T12:00:00Z') }],
  ['2026-11-29 13:00:00.5+01', { kind: 'time', at: new Date('2026-11-29T12:00:00.5Z') }],
  ['2026-11-29T13:00+01:00', { kind: 'time', at: new Date('2026-11-29T12:00:00Z') }],
])('%s is understood', (text, target) => {
  expect(parseTarget(text)).toEqual(target)
})

it.each([undefined, '', 'yesterday', '2026-11-29', '2026-11-29T12:00:00', '2026-13-29T12:00:00Z', '12:00Z', '../x'])(
  '%s is refused',
  (text) => {
    expect(() => parseTarget(text)).toThrow('Say to what')
  },
)
