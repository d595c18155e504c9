// Apart from the host: a bundle imports from here what its own kind of function needs, and nothing else gets into it.
export { startEventOutbox, startJobOutbox } from './outbox-trigger.ts'
export { startQueue } from './queue-trigger.ts'
export { startStream } from './stream-trigger.ts'
export { type RunningTrigger, startClock } from './trigger.ts'
