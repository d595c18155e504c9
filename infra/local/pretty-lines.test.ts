import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { prettyLine } from './pretty-lines.ts'

const TIME = '2026-01-02T03:04:05.678Z'
const pretty = (line: object) => stripVTControlCharacters(prettyLine(`${JSON.stringify({ time: TIME, ...line })}\n`))

describe('a line at a terminal', () => {
  it('shows of a request what was asked and answered', () => {
    const request = { method: 'GET', route: '/v1/products/{productId}', status: 404, ms: 1.5, bytes: 300 }
    expect(pretty({ level: 'info', msg: 'request', ...request, request_id: 'r', code: 'product_not_found' })).toBe(
      '03:04:05.678 GET /v1/products/{productId} 404 1.5 ms request_id=r code=product_not_found\n',
    )
  })

  it('shows how grave a failure is, and its stack', () => {
    const err = { type: 'Error', stack: 'Error: no\n    at here' }
    expect(pretty({ level: 'error', msg: 'It broke.', function: 'get-stock', code: 'internal', err })).toBe(
      '03:04:05.678 ERROR get-stock It broke. code=internal\nError: no\n    at here\n',
    )
  })
})
