import { counter } from '#telemetry'

const unreadable = counter('stream_unreadable_total', 'Batches that the driver could not read.', ['topic'])

let patched: Promise<void> | undefined

/**
 * Isolates batches that KafkaJS 2.2.4 can't read. It decompresses only gzip (https://kafka.js.org/docs/producing#compression), and one batch of
 * another codec fails a whole fetch of many partitions. With this patch, consumers get everything before that batch, and the other partitions. When
 * nothing else is left, the error names the batch and says what to do about it.
 */
export function isolateUnreadable(): Promise<void> {
  patched ??= patch()
  return patched
}

type FetchRequest = Parameters<InstanceType<typeof import('kafkajs/src/broker/index.js').default>['fetch']>[0]

async function patch(): Promise<void> {
  // The same module that KafkaJS requires, in a bundle too: esbuild identifies a module by its file.
  const { default: Broker } = await import('kafkajs/src/broker/index.js')
  const { fetch } = Broker.prototype
  Broker.prototype.fetch = async function (this: InstanceType<typeof Broker>, request) {
    try {
      return await fetch.call(this, request)
    } catch (error) {
      if (!isUnreadable(error)) throw error
      return fetchOneByOne((single) => fetch.call(this, single), request, error)
    }
  }
}

/** Fetches the next batch of each partition: a broker returns at least one, however few bytes a fetch asks for. */
async function fetchOneByOne(
  fetch: (
    request: FetchRequest,
  ) => ReturnType<InstanceType<typeof import('kafkajs/src/broker/index.js').default>['fetch']>,
  request: FetchRequest,
  error: Error,
) {
  const singles = request.topics.flatMap(({ topic, partitions }) =>
    partitions.map((partition) => ({ topic, partitions: [{ ...partition, maxBytes: 1 }] })),
  )
  const settled = await Promise.allSettled(
    singles.map((single) => fetch({ ...request, maxWaitTime: 0, topics: [single] })),
  )
  const answers = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const responses = answers.flatMap((answer) => answer.responses)
  const [answer] = answers
  if (answer && responses.some(({ partitions }) => partitions.some(({ messages }) => messages.length > 0)))
    return { ...answer, responses }
  const at = settled.findIndex((each) => each.status === 'rejected' && isUnreadable(each.reason))
  const { topic, partitions } = singles[at] ?? {}
  unreadable.inc({ topic: topic ?? '' })
  error.message =
    `the batch at offset ${partitions?.[0]?.fetchOffset} of partition ${partitions?.[0]?.partition} of the topic ${topic} can't be ` +
    `read (${error.message}): set compression.type=producer on the topic, then delete the batch or move the group past it ` +
    `(docs/decisions/0009-kafka-behind-the-events-port.md says how)`
  throw error
}

/** Whether the cause is a batch that no retry can read. */
export function isUnreadable(error: unknown): error is Error {
  return error instanceof Error && error.name === 'KafkaJSNotImplemented'
}
