// Separate from the host, so that a bundle contains only the trigger for its own kind of function.
export { startEventOutbox, startJobOutbox } from './outbox-trigger.ts'
export { startQueue } from './queue-trigger.ts'
export { startStream } from './stream-trigger.ts'
export { type RunningTrigger, startClock } from './trigger.ts'
