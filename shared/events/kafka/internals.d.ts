/** A part of KafkaJS that it does not export. Declares what idle-timer.ts and its test use. */
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

/** Another such part. Declares what unreadable.ts uses. */
declare module 'kafkajs/src/broker/index.js' {
  class Broker {
    fetch(request: {
      maxWaitTime: number
      topics: Array<{ topic: string; partitions: Array<{ partition: number; fetchOffset: string; maxBytes: number }> }>
    }): Promise<{ responses: Array<{ topicName: string; partitions: Array<{ messages: unknown[] }> }> }>
  }
  export default Broker
}
