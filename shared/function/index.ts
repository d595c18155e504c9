export { pruneIdempotencyKeys } from '#database'
export { accepted, created, type FunctionDefinition, noContent, ok } from './definition.ts'
export {
  eventRequest,
  outboxFunction,
  queueFunction,
  scheduleFunction,
  streamFunction,
} from './events/event-function.ts'
export { requireReady } from './host/readiness.ts'
export { namedType } from './http/accept.ts'
export { httpFunction } from './http/http-function.ts'
export { pageOf, pageQuery } from './http/list.ts'
export { preconditionsOf } from './http/request-headers.ts'
export { Upload } from './http/upload.ts'
export { problemDocument, problemHeaders, toServiceError } from './problem.ts'
export { requestIdOf } from './request-id.ts'
