import { created, httpFunction } from '#function'
import { createLocation } from '#stock'
import { CreateLocationRequest, Location } from '#stock/schema'

export default httpFunction({
  name: 'create-location',
  route: 'POST /v1/locations',
  tag: 'locations',
  scope: 'admin',
  summary: 'Add a place that stock can be at.',
  request: { body: CreateLocationRequest },
  responses: { 201: Location, 409: ['location_code_taken'] },
  handler: async ({ body, context }) => created('/v1/locations', await createLocation(body, context)),
})
