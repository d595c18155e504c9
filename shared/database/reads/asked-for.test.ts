import { expect, it } from 'vitest'
import { requireAskedFor } from './asked-for.ts'

it('a row that was not asked for is nobody’s answer, and a client may ask again', () => {
  expect(() => requireAskedFor(true, 'API key')).not.toThrow()
  expect(() => requireAskedFor(false, 'API key')).toThrow(expect.objectContaining({ code: 'unavailable', status: 503 }))
})
