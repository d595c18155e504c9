import * as z from 'zod'
import { httpFunction, ok } from '#function'
import { redriveDeadLetters } from '#jobs'
import { RedriveRequest } from '#jobs/schema'

export default httpFunction({
  name: 'redrive-dead-letters',
  route: 'POST /v1/dead-letters/redrive',
  tag: 'jobs',
  scope: 'admin',
  summary: 'Queue dead jobs again, all of them or some, under their ids.',
  request: { body: RedriveRequest },
  responses: { 200: z.object({ redriven: z.number().int().nonnegative() }) },
  handler: async ({ body, context }) => ok({ redriven: await redriveDeadLetters(body, context) }),
})
