import { httpFunction, noContent } from '#function'
import { deleteWebhook } from '#webhooks'

export default httpFunction({
  name: 'delete-webhook',
  route: 'DELETE /v1/webhooks/{webhookId}',
  params: { webhookId: 'webhook' },
  tag: 'webhooks',
  scope: 'admin',
  summary: 'Send no more events to a URL.',
  responses: { 204: null, 404: ['webhook_not_found'] },
  handler: async ({ params, context }) => {
    await deleteWebhook(params.webhookId, context)
    return noContent()
  },
})
