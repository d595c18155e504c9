export { type ErrorCode, isRefusal, statusOf } from './codes.ts'
export { cutText } from './cut-text.ts'
export type { Issue } from './members.ts'
export type { Outcome } from './outcome.ts'
export {
  type ErrorArguments,
  invalid,
  notFound,
  overloaded,
  type Resource,
  ServiceError,
} from './service-error.ts'
