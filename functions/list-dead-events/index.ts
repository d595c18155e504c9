import { listDeadEvents } from '#events'
import { DeadEvent, DeadEventFilter } from '#events/schema'
import { httpFunction, ok, pageOf, pageQuery } from '#function'

export default httpFunction({
  name: 'list-dead-events',
  route: 'GET /v1/dead-events',
  tag: 'events',
  scope: 'admin',
  summary: 'Page through the events that a consumer group, or the log, has refused, newest first.',
  request: { query: pageQuery(DeadEventFilter) },
  responses: { 200: pageOf(DeadEvent) },
  handler: async ({ query, context }) => ok(await listDeadEvents(query, context)),
})
