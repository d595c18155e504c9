import * as z from 'zod'
import { ApiKey, CreateApiKeyRequest, createApiKey } from '#access'
import { created, httpFunction } from '#function'

export default httpFunction({
  name: 'create-api-key',
  route: 'POST /v1/api-keys',
  tag: 'api-keys',
  scope: 'admin',
  summary: 'Make an API key; the answer is the only one that shows it.',
  request: { body: CreateApiKeyRequest },
  responses: { 201: ApiKey.extend({ key: z.string().optional() }) },
  handler: async ({ body, context }) => {
    const apiKey = await createApiKey(body, context)
    return created(`/v1/api-keys/${apiKey.id}`, apiKey)
  },
})
