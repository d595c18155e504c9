import { measureEvents } from '#events'
import { scheduleFunction } from '#function'
import { measureJobs } from '#jobs'
import { measureLowStock } from '#stock'

/** The consumer groups: each function that follows events is one. */
export const groups = ['detect-low-stock', 'notify-webhooks']

export default scheduleFunction({
  name: 'measure-backlog',
  // Often enough for an alert within a minute after a fault, at some ten small queries each time.
  everyMs: 5_000,
  summary:
    'Measure what waits: unpublished events, events that no consumer has read, jobs, what is dead, and low stock.',
  handler: async () => {
    await Promise.all([measureEvents(groups), measureJobs(), measureLowStock()])
  },
})
