import { type ConfirmChannel, connect } from 'amqplib'

/** Looks at a broker from outside, and puts messages into it that the service would not, on a connection of its own. */
export async function withChannel<Result>(
  url: string,
  work: (channel: ConfirmChannel) => Promise<Result>,
): Promise<Result> {
  const connection = await connect(url)
  try {
    const channel = await connection.createConfirmChannel()
    // An operation that fails on the channel reports that itself.
    channel.on('error', () => {})
    return await work(channel)
  } finally {
    await connection.close()
  }
}
