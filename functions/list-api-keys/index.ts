import { ApiKey, listApiKeys } from '#access'
import { httpFunction, ok, pageOf, pageQuery } from '#function'

export default httpFunction({
  name: 'list-api-keys',
  route: 'GET /v1/api-keys',
  tag: 'api-keys',
  scope: 'admin',
  summary: 'Page through the API keys, without the keys themselves.',
  request: { query: pageQuery() },
  responses: { 200: pageOf(ApiKey) },
  handler: async ({ query, context }) => ok(await listApiKeys(query, context)),
})
