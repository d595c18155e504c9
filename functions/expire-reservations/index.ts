import { scheduleFunction } from '#function'
import { sweepReservations } from '#stock'

export default scheduleFunction({
  name: 'expire-reservations',
  everyMs: 1_000,
  summary: 'End the holds that are past their deadline.',
  emits: ['stock.expired'],
  handler: async ({ context }) => ({ expired: await sweepReservations(context) }),
})
