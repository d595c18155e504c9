import { expect, it } from 'vitest'
import { queuesOf } from './queues.ts'

it('a job that has to wait gets to its worker no more than half a minute after it is due', () => {
  const { address, all } = queuesOf('jobs')
  const queues = new Map(all().map(({ queue, options }) => [queue, options.arguments['x-message-ttl']]))
  for (let delayMs = 500; delayMs <= 600_000; delayMs += 500) {
    const ttlMs = queues.get(address('deliver-webhook', delayMs).exchange)
    expect(ttlMs, `${delayMs} ms`).toBeGreaterThanOrEqual(delayMs)
    expect(ttlMs, `${delayMs} ms`).toBeLessThan(delayMs + 30_000)
  }
})
