import { httpFunction, ok, pageOf, pageQuery } from '#function'
import { listReservations } from '#stock'
import { Reservation, ReservationFilter } from '#stock/schema'

export default httpFunction({
  name: 'list-reservations',
  route: 'GET /v1/reservations',
  tag: 'reservations',
  scope: 'reservations:read',
  summary: 'Page through reservations, newest first.',
  request: { query: pageQuery(ReservationFilter) },
  responses: { 200: pageOf(Reservation) },
  handler: async ({ query, context }) => ok(await listReservations(query, context)),
})
