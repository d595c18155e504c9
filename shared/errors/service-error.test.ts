import { describe, expect, it } from 'vitest'
import { cutText, type ErrorCode, invalid, ServiceError, statusOf } from './index.ts'

describe('error codes', () => {
  it('have an HTTP error status each', () => {
    for (const [code, status] of Object.entries(statusOf)) {
      expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/)
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(600)
    }
  })

  it.each([
    ['malformed_json', 400],
    ['unauthenticated', 401],
    ['forbidden', 403],
    ['product_not_found', 404],
    ['method_not_allowed', 405],
    ['insufficient_stock', 409],
    ['request_in_progress', 409],
    ['version_mismatch', 412],
    ['too_large', 413],
    ['unsupported_media_type', 415],
    ['validation_failed', 422],
    ['idempotency_key_reused', 422],
    ['rate_limited', 429],
    ['overloaded', 503],
  ] as const)('%s is %d, for good: clients rely on it', (code: ErrorCode, status) => {
    expect(statusOf[code]).toBe(status)
  })
})

describe('a ServiceError', () => {
  it('carries what a client may see, and the cause, which it may not', () => {
    const cause = new Error('inside')
    const extra = { failing: { database: 'refused' } }
    const error = new ServiceError('not_ready', 'Later.', { retryAfterSeconds: 2, extra, cause })
    expect(error).toMatchObject({ code: 'not_ready', detail: 'Later.', retryAfterSeconds: 2, extra, cause })
    expect(error.message).toBe('not_ready: Later.')
    expect(new ServiceError('busy', 'Later.')).toMatchObject({ extra: {}, issues: undefined })
  })

  it('has the members of its code: what lacks one, or has one of another code, is no program', () => {
    const shortages = [{ productId: '0', sku: 'A', requested: 2, available: 1 }]
    expect(new ServiceError('insufficient_stock', 'x', { extra: { shortages } }).extra).toEqual({ shortages })
    // @ts-expect-error: the shortages are missing
    expect(() => new ServiceError('insufficient_stock', 'x')).not.toThrow()
    // @ts-expect-error: a shortage has members
    expect(() => new ServiceError('insufficient_stock', 'x', { extra: { shortages: [1] } })).not.toThrow()
    // @ts-expect-error: this code has no shortages
    expect(() => new ServiceError('not_held', 'x', { extra: { shortages } })).not.toThrow()
    // @ts-expect-error: the issues are missing
    expect(() => new ServiceError('validation_failed', 'x')).not.toThrow()
    // @ts-expect-error: this code has no issues
    expect(() => new ServiceError('busy', 'x', { issues: [] })).not.toThrow()
  })

  it('of an invalid member names it', () => {
    expect(invalid('lines.0.quantity', 'is too much')).toMatchObject({
      code: 'validation_failed',
      detail: 'lines.0.quantity: is too much',
      issues: [{ path: 'lines.0.quantity', message: 'is too much' }],
    })
  })
})

describe('cutText', () => {
  it.each([
    ['abc', 3, 'abc'],
    ['abcd', 3, 'abc'],
    ['ab\u{1F9E2}', 3, 'ab'],
    ['ab\u{1F9E2}', 4, 'ab\u{1F9E2}'],
    ['a\u{1F9E2}b', 3, 'a\u{1F9E2}'],
    ['\u{1F9E2}', 1, ''],
  ])('of %j takes at most %i, and whole characters', (text, max, cut) => {
    expect(cutText(text, max)).toBe(cut)
  })
})

it('has no half of a character in what a client is told', () => {
  const error = new ServiceError('validation_failed', 'a\ud800', { issues: [{ path: '\udc00', message: '\ud83e' }] })
  expect([error.detail, error.issues]).toEqual(['a\ufffd', [{ path: '\ufffd', message: '\ufffd' }]])
})
