import { expect, it } from 'vitest'
import { notCovered } from './on-embedded.ts'

it('a copy says what it is without, and that this is well', () => {
  expect(notCovered({})).toBe('It has the event log and the queue of jobs, too.')
  const engines = { CACHE_URL: 'redis://x', EVENTS_URL: 'kafka://x', JOBS_URL: 'amqp://x' }
  expect(notCovered({ engines })).toMatch(/^It does not have what is in Redis, Kafka, RabbitMQ, and needs none of it: /)
})
