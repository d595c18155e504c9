import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { statusOf } from './index.ts'

it('docs/errors.md tells of every code, with its status, once', () => {
  const text = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
  const rows = [...text.matchAll(/^\| (\d{3}) \| `(\w+)` \|/gm)].map(([, status, code]) => [code, Number(status)])
  const byCode = (entries: unknown[][]) => entries.toSorted(([a], [b]) => String(a).localeCompare(String(b)))
  expect(byCode(rows)).toEqual(byCode(Object.entries(statusOf)))
})
