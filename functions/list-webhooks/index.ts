import { httpFunction, ok, pageOf, pageQuery } from '#function'
import { listWebhooks } from '#webhooks'
import { Webhook } from '#webhooks/schema'

export default httpFunction({
  name: 'list-webhooks',
  route: 'GET /v1/webhooks',
  tag: 'webhooks',
  scope: 'admin',
  summary: 'Page through the webhooks, newest first, without their secrets.',
  request: { query: pageQuery() },
  responses: { 200: pageOf(Webhook) },
  handler: async ({ query, context }) => ok(await listWebhooks(query, context)),
})
