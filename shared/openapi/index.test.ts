import { describe, expect, it } from 'vitest'
import { allFunctions } from '#testing'
import { openApiOf } from './index.ts'

interface Operation {
  operationId: string
  responses: Record<string, { description: string }>
}

const { paths } = openApiOf(await allFunctions(), '0.0.0') as { paths: Record<string, Record<string, Operation>> }
const operations = Object.values(paths).flatMap((path) =>
  Object.entries(path).map(([method, { operationId, responses }]) => ({ method, operationId, responses })),
)

describe('the description of', () => {
  it.each(operations)('$operationId has what the router answers in its place', ({ responses }) => {
    expect(responses[502]?.description).toContain('bad_gateway')
    expect(responses[503]?.description).toMatch(/overloaded.*unavailable/)
    expect(responses[504]?.description).toContain('gateway_timeout')
  })

  const writes = operations.filter(({ method }) => method === 'post' || method === 'patch')
  it.each(writes)('$operationId has what a body and an Idempotency-Key may lead to', ({ responses }) => {
    expect(responses[409]?.description).toContain('request_in_progress')
    expect(responses[413]?.description).toBe('`too_large`')
    expect(responses[415]?.description).toBe('`unsupported_media_type`')
    expect(responses[422]?.description).toMatch(/idempotency_key_reused.*validation_failed/)
  })
})
