export { type NewEvent, publish } from './outbox.ts'
export { eventTypes, StockEvent } from './types.ts'
