import { expect, it } from 'vitest'
import { openApiOf } from '#openapi'
import { allFunctions } from '../functions.ts'
import { contractOf } from './contract.ts'

const check = contractOf(openApiOf(await allFunctions(), '0.0.0'))
const problem = {
  type: 'about:blank',
  title: 'Conflict',
  status: 409,
  detail: 'There is not enough stock; nothing was held.',
  instance: '/v1/reservations',
  code: 'insufficient_stock',
  requestId: 'r-1',
}
const shortage = { productId: '019aca5e-3f6b-7000-8000-000000000000', sku: 'A', requested: 2, available: 1 }
const answer = (
  body: unknown,
  status = 409,
  type = 'application/problem+json',
  headers: Record<string, string> = { 'request-id': 'r-1' },
) =>
  check({
    method: 'POST',
    path: '/v1/reservations',
    status,
    headers: new Headers({ 'content-type': type, ...headers }),
    text: JSON.stringify(body),
  })

it('an answer that the document describes passes, whatever members it has besides', () => {
  expect(() => answer({ ...problem, shortages: [shortage] })).not.toThrow()
  expect(() => answer({ ...problem, shortages: [{ ...shortage, another: 1 }], another: 1 })).not.toThrow()
  expect(() => answer({ ...problem, code: 'request_in_progress' })).not.toThrow()
})

it.each([
  ['a problem without a member of its code', () => answer(problem)],
  ['a member of another shape', () => answer({ ...problem, shortages: [{ ...shortage, requested: '2' }] })],
  ['a code of another operation', () => answer({ ...problem, code: 'sku_taken' })],
  ['an unknown code', () => answer({ ...problem, code: 'sold_out' })],
  ['a status of another operation', () => answer({ ...problem, status: 412, code: 'version_mismatch' }, 412)],
  ['another media type', () => answer({ ...problem, shortages: [shortage] }, 409, 'application/json')],
  [
    'an answer without a header that every answer has',
    () => answer({ ...problem, code: 'request_in_progress' }, 409, undefined, {}),
  ],
  [
    'a header that is not described',
    () => answer({ ...problem, code: 'request_in_progress' }, 409, undefined, { 'request-id': 'r', sunset: 'x' }),
  ],
  ['a body of another shape', () => answer({ id: 1 }, 201, 'application/json')],
])('refuses %s', (_, send) => {
  expect(send).toThrow(/POST \/v1\/reservations answered/)
})
