import { httpFunction, ok } from '#function'
import { getReservation } from '#stock'
import { Reservation } from '#stock/schema'

export default httpFunction({
  name: 'get-reservation',
  route: 'GET /v1/reservations/{reservationId}',
  params: { reservationId: 'reservation' },
  tag: 'reservations',
  scope: 'reservations:read',
  summary: 'Read a reservation.',
  responses: { 200: Reservation, 404: ['reservation_not_found'] },
  handler: async ({ params, context }) => ok(await getReservation(params.reservationId, context)),
})
