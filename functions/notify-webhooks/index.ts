import * as z from 'zod'
import { type ReceivedEvent, streamFunction } from '#function'
import { getReservations } from '#stock'
import type { Reservation } from '#stock/schema'
import { hasSubscribers, notifyWebhooks } from '#webhooks'

const name = 'notify-webhooks'

export default streamFunction({
  name,
  topics: ['stock-events', 'product-events'],
  // Nearly all events are of no interest to any webhook, and there are thousands of them a second.
  wants: async (type) =>
    (await hasSubscribers(type)) || (type === 'stock.expired' && (await hasSubscribers('reservation.expired'))),
  summary: 'Queue each event for the webhooks that ask for it.',
  data: z.looseObject({ productId: z.guid(), reservationId: z.guid().nullish() }),
  batch: { max: 500, waitMs: 20 },
  handler: async (events) => {
    const expired = await expiredReservations(events)
    const notifications = events.map(({ attributes: { specversion: _, ...event }, data, context }) => {
      const reservation = event.type === 'stock.expired' ? expired.get(data.reservationId ?? '') : undefined
      const sent = [{ ...event, data }, ...(reservation ? [toEvent(reservation, event.time)] : [])]
      return { events: sent, context }
    })
    const results = await notifyWebhooks(notifications, name)
    return results.map((result) =>
      result.status === 'rejected' ? result : { ...result, value: { jobs: result.value } },
    )
  },
})

type Received = ReceivedEvent<{ reservationId?: string | null | undefined }>

/** The reservations that the events end, by their ids, if a webhook asks for such events. Throws `reservation_not_found`. */
async function expiredReservations(events: readonly Received[]): Promise<ReadonlyMap<string, Reservation>> {
  const [first] = events
  const ids = events.flatMap(({ attributes, data }) =>
    attributes.type === 'stock.expired' && data.reservationId ? [data.reservationId] : [],
  )
  if (!first || ids.length === 0 || !(await hasSubscribers('reservation.expired'))) return new Map()
  return getReservations([...new Set(ids)], first.context)
}

/** Each line of a reservation has its own event. The whole reservation has one event, whose id is the reservation's. */
function toEvent(reservation: Reservation, time: string | undefined) {
  const { id } = reservation
  return { id, source: '/v1/reservations', type: 'reservation.expired', subject: id, time, data: reservation }
}
