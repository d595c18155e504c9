import * as z from 'zod'
import { created, httpFunction } from '#function'
import { createWebhook } from '#webhooks'
import { CreateWebhookRequest, Webhook } from '#webhooks/schema'

const Secret = z.string().describe('Signs what is sent, as https://www.standardwebhooks.com has it.')

export default httpFunction({
  name: 'create-webhook',
  route: 'POST /v1/webhooks',
  tag: 'webhooks',
  scope: 'admin',
  summary: 'Have events sent to a URL; the answer is the only one that shows the secret that signs them.',
  request: { body: CreateWebhookRequest },
  responses: { 201: Webhook.extend({ secret: Secret.optional() }), 409: ['too_many_webhooks'] },
  handler: async ({ body, context }) => {
    const webhook = await createWebhook(body, context)
    return created(`/v1/webhooks/${webhook.id}`, webhook)
  },
})
