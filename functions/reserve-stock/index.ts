import { created, httpFunction } from '#function'
import { holdLifeMaxSeconds, reserve } from '#stock'
import { Reservation, ReserveRequest } from '#stock/schema'

export default httpFunction({
  name: 'reserve-stock',
  route: 'POST /v1/reservations',
  tag: 'reservations',
  scope: 'reservations:write',
  summary: 'Hold stock for every line, or for none.',
  request: { body: ReserveRequest },
  responses: {
    201: Reservation,
    404: ['product_not_found', 'location_not_found'],
    409: ['product_archived', 'limit_exceeded', 'insufficient_stock'],
  },
  settings: holdLifeMaxSeconds,
  emits: ['stock.reserved', 'stock.released', 'stock.expired'],
  handler: async ({ body, context }) => {
    const reservation = await reserve(body, context)
    return created(`/v1/reservations/${reservation.id}`, reservation)
  },
})
