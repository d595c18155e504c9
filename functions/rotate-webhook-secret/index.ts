import * as z from 'zod'
import { httpFunction, ok } from '#function'
import { rotateSecret } from '#webhooks'

const RotatedSecret = z.object({
  secret: z.string().optional().describe('Signs what is sent from now on. Only in the first answer.'),
  previousSecretsUntil: z.iso.datetime().describe('Until then the secrets from before sign it as well.'),
})

export default httpFunction({
  name: 'rotate-webhook-secret',
  route: 'POST /v1/webhooks/{webhookId}/rotate-secret',
  params: { webhookId: 'webhook' },
  tag: 'webhooks',
  scope: 'admin',
  summary: 'Give a webhook another secret; for a day the one before signs as well.',
  responses: { 200: RotatedSecret, 404: ['webhook_not_found'] },
  handler: async ({ params, context }) => ok(await rotateSecret(params.webhookId, context)),
})
