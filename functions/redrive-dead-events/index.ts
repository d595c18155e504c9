import * as z from 'zod'
import { redriveDeadEvents } from '#events'
import { RedriveEvents } from '#events/schema'
import { httpFunction, ok } from '#function'

export default httpFunction({
  name: 'redrive-dead-events',
  route: 'POST /v1/dead-events/redrive',
  tag: 'events',
  scope: 'admin',
  summary: 'Deliver dead events again to the groups that refused them, all of them or some.',
  request: { body: RedriveEvents },
  responses: { 200: z.object({ redriven: z.number().int().nonnegative() }) },
  handler: async ({ body, context }) => ok({ redriven: await redriveDeadEvents(body, context) }),
})
