import * as z from 'zod'
import { httpFunction, ok } from '#function'
import { release } from '#stock'
import { Reservation } from '#stock/schema'

export default httpFunction({
  name: 'release-reservation',
  route: 'POST /v1/reservations/{reservationId}/release',
  params: { reservationId: 'reservation' },
  tag: 'reservations',
  scope: 'reservations:write',
  summary: 'Give held goods back.',
  request: { body: z.strictObject({}) },
  responses: { 200: Reservation, 404: ['reservation_not_found'], 409: ['not_held'] },
  emits: ['stock.released', 'stock.expired'],
  handler: async ({ params, context }) => ok(await release(params.reservationId, context)),
})
