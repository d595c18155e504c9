/** A part of KafkaJS that it does not export, as far as idle-timer.ts and its test use it. */
declare module 'kafkajs/src/network/requestQueue/index.js' {
  class RequestQueue {
    constructor(options: object)
    pending: unknown[]
    throttleCheckTimeoutId: unknown
    push(request: object): void
    fulfillRequest(response: { correlationId: number; payload: Buffer; size: number }): void
    maybeThrottle(milliseconds: number): void
    checkPendingRequests(): void
    scheduleCheckPendingRequests(): void
  }
  export default RequestQueue
}

/** The same, as far as unreadable.ts uses it. */
declare module 'kafkajs/src/broker/index.js' {
  class Broker {
    fetch(request: {
      maxWaitTime: number
      topics: Array<{ topic: string; partitions: Array<{ partition: number; fetchOffset: string; maxBytes: number }> }>
    }): Promise<{ responses: Array<{ topicName: string; partitions: Array<{ messages: unknown[] }> }> }>
  }
  export default Broker
}
