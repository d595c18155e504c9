import { httpFunction, ok } from '#function'
import { queryAvailability } from '#stock'
import { AvailabilityRequest, AvailabilityResult } from '#stock/schema'

export default httpFunction({
  name: 'query-availability',
  route: 'POST /v1/stock/availability',
  tag: 'stock',
  scope: 'stock:read',
  isRead: true,
  summary: 'Read the stock of many products at one moment, and whether reservations of them would be held.',
  request: { body: AvailabilityRequest },
  responses: { 200: AvailabilityResult, 404: ['location_not_found'] },
  handler: async ({ body, context }) => ok(await queryAvailability(body, context)),
})
