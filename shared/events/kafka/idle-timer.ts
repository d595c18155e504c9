let patched: Promise<void> | undefined

/**
 * KafkaJS 2.2.4 looks for requests that wait to be sent once a millisecond, on each connection and for ever, though there are none:
 * some 4 % of a core each (https://github.com/tulios/kafkajs/issues/1751). A request that has to wait arms the timer itself when
 * it comes, so without one there is nothing to arm it for.
 */
export function stopIdleTimers(): Promise<void> {
  patched ??= patch()
  return patched
}

async function patch(): Promise<void> {
  // The very module that KafkaJS requires, in a bundle too: esbuild knows a module by its file.
  const { default: RequestQueue } = await import('kafkajs/src/network/requestQueue/index.js')
  const { scheduleCheckPendingRequests } = RequestQueue.prototype
  RequestQueue.prototype.scheduleCheckPendingRequests = function (this: InstanceType<typeof RequestQueue>) {
    if (this.pending.length > 0) scheduleCheckPendingRequests.call(this)
  }
}
