import { type ConfirmChannel, connect } from 'amqplib'

/** Looks at a broker from outside, and puts into it what the service would not: on a connection of its own. */
export async function withChannel<Result>(
  url: string,
  work: (channel: ConfirmChannel) => Promise<Result>,
): Promise<Result> {
  const connection = await connect(url)
  try {
    const channel = await connection.createConfirmChannel()
    // What fails on it tells of that itself.
    channel.on('error', () => {})
    return await work(channel)
  } finally {
    await connection.close()
  }
}
