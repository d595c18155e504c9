import { FunctionList, httpFunction, listFunctions, ok } from '#function'

export default httpFunction({
  name: 'list-functions',
  route: 'GET /v1/functions',
  tag: 'operations',
  scope: 'admin',
  summary: 'List the functions, each with the processes that serve it.',
  responses: { 200: FunctionList },
  handler: async () => ok(await listFunctions()),
})
