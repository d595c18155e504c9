import { httpFunction, ok, pageOf, pageQuery } from '#function'
import { listDeadLetters } from '#jobs'
import { DeadLetter } from '#jobs/schema'

export default httpFunction({
  name: 'list-dead-letters',
  route: 'GET /v1/dead-letters',
  tag: 'jobs',
  scope: 'admin',
  summary: 'Page through the jobs that have died, newest first.',
  request: { query: pageQuery() },
  responses: { 200: pageOf(DeadLetter) },
  handler: async ({ query, context }) => ok(await listDeadLetters(query, context)),
})
