import { httpFunction, ok, pageOf, pageQuery } from '#function'
import { listLocations } from '#stock'
import { Location } from '#stock/schema'

export default httpFunction({
  name: 'list-locations',
  route: 'GET /v1/locations',
  tag: 'locations',
  scope: 'stock:read',
  summary: 'Page through the locations, by allocation priority.',
  request: { query: pageQuery() },
  responses: { 200: pageOf(Location) },
  handler: async ({ query, context }) => ok(await listLocations(query, context)),
})
