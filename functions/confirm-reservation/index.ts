import { httpFunction, ok } from '#function'
import { confirm } from '#stock'
import { ConfirmRequest, Reservation } from '#stock/schema'

export default httpFunction({
  name: 'confirm-reservation',
  route: 'POST /v1/reservations/{reservationId}/confirm',
  params: { reservationId: 'reservation' },
  tag: 'reservations',
  scope: 'reservations:write',
  summary: 'Take held goods out of stock, all of them or some.',
  request: { body: ConfirmRequest },
  responses: { 200: Reservation, 404: ['reservation_not_found'], 409: ['not_held', 'reservation_expired'] },
  emits: ['stock.confirmed', 'stock.released', 'stock.expired'],
  handler: async ({ params, body, context }) => ok(await confirm(params.reservationId, body, context)),
})
