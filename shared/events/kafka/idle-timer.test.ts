import { EventEmitter, once } from 'node:events'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import { expect, it } from 'vitest'
import { stopIdleTimers } from './idle-timer.ts'

/** A connection's queue, with a request that tells when it is sent. */
async function newQueue() {
  await stopIdleTimers()
  const ignore = () => {}
  const queue = new RequestQueue({
    maxInFlightRequests: null,
    requestTimeout: 1_000,
    enforceRequestTimeout: false,
    clientId: 'test',
    broker: 'test',
    logger: { debug: ignore, warn: ignore, error: ignore, info: ignore },
  })
  const socket = new EventEmitter()
  const request = (correlationId: number) => ({
    entry: { correlationId, apiName: 'test', apiKey: 0, apiVersion: 0, resolve: ignore, reject: ignore },
    expectResponse: true,
    sendRequest: () => socket.emit('sent', correlationId),
  })
  return { queue, socket, request }
}

it('a connection without waiting requests has no timer', async () => {
  const { queue, socket, request } = await newQueue()
  const sent = once(socket, 'sent')
  queue.push(request(1))
  await sent
  queue.fulfillRequest({ correlationId: 1, payload: Buffer.alloc(0), size: 0 })
  queue.checkPendingRequests()
  expect(queue.throttleCheckTimeoutId).toBeNull()
})

it('a request that the broker makes wait is sent when its time has come, and the timer is gone', async () => {
  const { queue, socket, request } = await newQueue()
  queue.maybeThrottle(20)
  const sent = once(socket, 'sent')
  queue.push(request(7))
  expect(queue.pending).toHaveLength(1)
  expect(queue.throttleCheckTimeoutId).not.toBeNull()
  expect(await sent).toEqual([7])
  expect(queue.throttleCheckTimeoutId).toBeNull()
})
