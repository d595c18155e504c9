import { httpFunction, ok } from '#function'
import { updateWebhook } from '#webhooks'
import { UpdateWebhookRequest, Webhook } from '#webhooks/schema'

export default httpFunction({
  name: 'update-webhook',
  route: 'PATCH /v1/webhooks/{webhookId}',
  params: { webhookId: 'webhook' },
  tag: 'webhooks',
  scope: 'admin',
  summary: 'Change where events are sent, which, or whether any are.',
  request: {
    body: UpdateWebhookRequest,
    contentTypes: ['application/merge-patch+json', 'application/json'],
  },
  responses: { 200: Webhook, 404: ['webhook_not_found'] },
  handler: async ({ params, body, context }) => ok(await updateWebhook(params.webhookId, body, context)),
})
