// Exports a name for each kind of function and each kind of answer, and the parts of declarations. Parts of the host and the router, which no
// declaration needs, have their own import names (`#function/…`).
export { pruneIdempotencyKeys } from '#database'
export { accepted, created, type FunctionDefinition, noContent, ok } from './definition.ts'
export { eventRequest } from './events/cloud-event.ts'
export { outboxFunction, queueFunction, scheduleFunction, streamFunction } from './events/event-function.ts'
export type { ReceivedEvent } from './events/event-options.ts'
export { namedType } from './http/accept.ts'
export { httpFunction } from './http/http-function.ts'
export { pageOf, pageQuery } from './http/list.ts'
export { preconditionsOf } from './http/request-headers.ts'
export { Upload } from './http/upload.ts'
export { describeFunction, FunctionList, listFunctions } from './status/function-list.ts'
