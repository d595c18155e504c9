import { runner } from '#jobs'
import { deliverWebhook } from './deliver.ts'
import { DeliveryPayload } from './delivery-payload.ts'

export const webhookJobs = {
  'deliver-webhook': runner(DeliveryPayload, (payload, { context }) => deliverWebhook(payload, context)),
}
