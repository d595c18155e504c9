let patched: Promise<void> | undefined

/**
 * Stops a timer of KafkaJS 2.2.4 that looks for waiting requests once a millisecond on each connection, even if there are none: each takes some 4 %
 * of a core (https://github.com/tulios/kafkajs/issues/1751). A request that has to wait arms the timer itself.
 */
export function stopIdleTimers(): Promise<void> {
  patched ??= patch()
  return patched
}

async function patch(): Promise<void> {
  // The same module that KafkaJS requires, in a bundle too: esbuild identifies a module by its file.
  const { default: RequestQueue } = await import('kafkajs/src/network/requestQueue/index.js')
  const { scheduleCheckPendingRequests } = RequestQueue.prototype
  RequestQueue.prototype.scheduleCheckPendingRequests = function (this: InstanceType<typeof RequestQueue>) {
    if (this.pending.length > 0) scheduleCheckPendingRequests.call(this)
  }
}
