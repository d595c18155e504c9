export { problemDocument, problemHeaders, toServiceError } from './problem.ts'
export { requestIdOf } from './request-id.ts'
