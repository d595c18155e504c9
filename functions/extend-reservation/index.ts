import { httpFunction, ok } from '#function'
import { extend, holdLifeMaxSeconds } from '#stock'
import { ExtendRequest, Reservation } from '#stock/schema'

export default httpFunction({
  name: 'extend-reservation',
  route: 'POST /v1/reservations/{reservationId}/extend',
  params: { reservationId: 'reservation' },
  tag: 'reservations',
  scope: 'reservations:write',
  summary: 'Make a hold end some seconds from now.',
  request: { body: ExtendRequest },
  responses: { 200: Reservation, 404: ['reservation_not_found'], 409: ['not_held', 'hold_limit_reached'] },
  settings: holdLifeMaxSeconds,
  emits: ['stock.expired'],
  handler: async ({ params, body, context }) => ok(await extend(params.reservationId, body, context)),
})
