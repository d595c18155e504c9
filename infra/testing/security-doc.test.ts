import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'

const doc = new URL('../../docs/security.md', import.meta.url)
const rows = (await readFile(doc, 'utf8')).split('\n').flatMap((line) => {
  const [, risk, , , proof = ''] = /^\| API(\d+) ([^|]+)\|([^|]+)\|(.+)\|$/.exec(line) ?? []
  return risk === undefined ? [] : [{ risk: Number(risk), proof }]
})
const tests = rows.flatMap(({ risk, proof }) =>
  [...proof.matchAll(/\]\(([^)]+)\) “([^”]+)”/g)].map(([, file = '', name = '']) => ({ risk, file, name })),
)

it('the document of security says of each of the ten risks which test proves what stands against it', () => {
  const ten = Array.from({ length: 10 }, (_, index) => index + 1)
  expect(rows.map(({ risk }) => risk)).toEqual(ten)
  expect([...new Set(tests.map(({ risk }) => risk))]).toEqual(ten)
  // Each link has the name of a test.
  expect(tests).toHaveLength(rows.reduce((sum, { proof }) => sum + proof.split('](').length - 1, 0))
})

it.each(tests)('API$risk: $file has the test “$name”', async ({ file, name }) => {
  const text = await readFile(new URL(file, doc), 'utf8')
  expect(text.includes(`'${name}'`) || text.includes(`\`${name}\``)).toBe(true)
})
