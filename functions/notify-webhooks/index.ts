import * as z from 'zod'
import { streamFunction } from '#function'
import { getReservation } from '#stock'
import { hasSubscribers, notifyWebhooks } from '#webhooks'

const name = 'notify-webhooks'

export default streamFunction({
  name,
  topics: ['stock-events', 'product-events'],
  // Nearly all events are of no interest to any webhook, and there are thousands a second.
  wants: async (type) =>
    (await hasSubscribers(type)) || (type === 'stock.expired' && (await hasSubscribers('reservation.expired'))),
  summary: 'Queue each event for the webhooks that ask for it.',
  data: z.looseObject({ productId: z.guid(), reservationId: z.guid().nullish() }),
  handler: async ({ attributes, data, context }) => {
    const { type, time } = attributes
    const { specversion: _, ...event } = attributes
    const jobs = await notifyWebhooks({ ...event, data }, name, context)
    if (type !== 'stock.expired' || !data.reservationId || !(await hasSubscribers('reservation.expired')))
      return { jobs }
    // Each line of a reservation has an event, and the reservation has one, which has its id.
    const reservation = await getReservation(data.reservationId, context)
    const { id } = reservation
    const expired = {
      id,
      source: '/v1/reservations',
      type: 'reservation.expired',
      subject: id,
      time,
      data: reservation,
    }
    return { jobs: jobs + (await notifyWebhooks(expired, name, context)) }
  },
})
