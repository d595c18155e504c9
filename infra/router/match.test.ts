import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createMatcher } from './match.ts'

const routes = [
  { method: 'POST', path: '/v1/products' },
  { method: 'GET', path: '/v1/products' },
  { method: 'GET', path: '/v1/products/{productId}' },
  { method: 'PATCH', path: '/v1/products/{id}' },
  { method: 'DELETE', path: '/v1/products/{productId}' },
  { method: 'POST', path: '/v1/products/imports' },
  { method: 'GET', path: '/v1/products/{productId}/stock' },
  { method: 'GET', path: '/v1/products/featured/prices' },
]
const match = createMatcher(routes)

function answerTo(method: string, path: string): string {
  const found = match(method, path)
  if (found.kind === 'found') return found.entry.path
  return found.kind === 'not_found' ? '404' : `405 ${found.allow}`
}

test.each([
  ['GET', '/v1/products', '/v1/products'],
  ['POST', '/v1/products', '/v1/products'],
  ['GET', '/v1/products/42', '/v1/products/{productId}'],
  ['PATCH', '/v1/products/42', '/v1/products/{id}'],
  ['POST', '/v1/products/imports', '/v1/products/imports'],
  ['GET', '/v1/products/imports', '405 POST'],
  ['GET', '/v1/products/imports/stock', '/v1/products/{productId}/stock'],
  ['GET', '/v1/products/featured/stock', '/v1/products/{productId}/stock'],
  ['GET', '/v1/products/featured/prices', '/v1/products/featured/prices'],
  ['GET', '/v1/products/other/prices', '404'],
  ['HEAD', '/v1/products/42', '/v1/products/{productId}'],
  ['HEAD', '/v1/products/imports', '405 POST'],
  ['PUT', '/v1/products/42', '405 DELETE, GET, HEAD, PATCH'],
  ['OPTIONS', '/v1/products', '405 GET, HEAD, POST'],
  ['get', '/v1/products', '405 GET, HEAD, POST'],
  ['GET', '/v1/%70roducts', '/v1/products'],
  ['GET', '/v1/products/a%2Fb', '/v1/products/{productId}'],
  ['GET', '/v1%2Fproducts', '404'],
  ['GET', '/v1/products/%zz', '404'],
  ['GET', '/v1/products/%', '404'],
  ['GET', '/v1/products/%ff', '404'],
  ['GET', '/v1/products/', '404'],
  ['GET', '/v1//products', '404'],
  ['GET', '//v1/products', '404'],
  ['GET', '/v1', '404'],
  ['GET', '/', '404'],
  ['GET', '', '404'],
  ['OPTIONS', '*', '404'],
  ['GET', 'v1/products', '404'],
  ['GET', '/V1/products', '404'],
  ['GET', '/v1/products/..', '404'],
  ['GET', '/v1/products/%2e%2E', '404'],
  ['GET', '/v1/products/x\\y', '404'],
  ['GET', '/v1/products/x#y', '404'],
  ['GET', '/__proto__/constructor', '404'],
  ['GET', `/${'a/'.repeat(8_000)}`, '404'],
])('%s %s is %s', (method, path, expected) => {
  expect(answerTo(method, path)).toBe(expected)
})

describe('routes that can not be told apart or read', () => {
  test.each([
    [['/a/{x}', '/a/{y}'], /same route/],
    [['/a', '/a'], /same route/],
    [['a'], /template/],
    [['/'], /template/],
    [['/a/'], /template/],
    [['/a//b'], /template/],
    [['/a/{}'], /template/],
    [['/a/x{y}'], /template/],
    [['/a/%20'], /template/],
    [['/a/..'], /template/],
  ])('%j is refused', (paths, message) => {
    expect(() => createMatcher(paths.map((path) => ({ method: 'GET', path })))).toThrow(message)
  })
})

test('finds what a search over all routes finds', () => {
  const literal = fc.constantFrom('a', 'b', 'c')
  const template = fc.array(fc.oneof(literal, fc.constant('{p}')), { minLength: 1, maxLength: 4 })
  const route = fc.record({ method: fc.constantFrom('GET', 'POST'), segments: template })
  const asked = fc.array(fc.constantFrom('a', 'b', 'c', 'd', ''), { minLength: 1, maxLength: 5 })
  const distinct = fc.uniqueArray(route, { selector: ({ method, segments }) => `${method} ${segments.join('/')}` })
  fc.assert(
    fc.property(distinct, fc.constantFrom('GET', 'POST', 'HEAD'), asked, (all, method, path) => {
      const entries = all.map(({ method, segments }) => ({ method, path: `/${segments.join('/')}` }))
      const found = createMatcher(entries)(method, `/${path.join('/')}`)
      expect(found).toEqual(search(entries, method, path))
    }),
    { numRuns: 2_000 },
  )
})

/** The expected answer by definition: of the templates that fit, the one that sorts first if parameters sort last. */
function search(entries: Array<{ method: string; path: string }>, method: string, segments: string[]): unknown {
  const fits = (path: string) => {
    const parts = path.slice(1).split('/')
    return (
      parts.length === segments.length && parts.every((part, i) => segments[i] && [segments[i], '{p}'].includes(part))
    )
  }
  // `{` sorts after every letter used here.
  const best = entries
    .map(({ path }) => path)
    .filter(fits)
    .sort()[0]
  if (best === undefined) return { kind: 'not_found' }
  const methods = new Map(entries.filter(({ path }) => path === best).map((entry) => [entry.method, entry]))
  const entry = methods.get(method) ?? (method === 'HEAD' ? methods.get('GET') : undefined)
  if (entry) return { kind: 'found', entry }
  const names = [...methods.keys(), ...(methods.has('GET') ? ['HEAD'] : [])]
  return { kind: 'method_not_allowed', allow: names.sort().join(', ') }
}
