import { setTimeout as sleep } from 'node:timers/promises'
import type { ChannelModel, ConfirmChannel } from 'amqplib'
import { logger } from '#telemetry'

/** A broker that is out of memory or disk takes no messages until it has enough again. */
const BLOCKED_MAX_MS = 5_000

export interface ConnectionState {
  isOpen: () => boolean
  /** Resolves when the connection has ended, for whatever reason. */
  closed: Promise<void>
  /** Resolves once the broker takes messages. Rejects if it does not do so within 5 s. */
  ready: () => Promise<void>
  /** Makes `isOpen` false before the connection has ended. */
  beginClose: () => void
}

/** Follows the state of a connection and its channel. Calls `destroy` if the broker closes only the channel. */
export function followConnection(
  connection: ChannelModel,
  channel: ConfirmChannel,
  destroy: (reason: string) => void,
): ConnectionState {
  let isOpen = true
  let isBlocked = false
  const closed = new Promise<void>((resolve) => {
    const end = () => {
      isOpen = false
      resolve()
    }
    connection.on('close', end)
    channel.on('close', () => {
      destroy('the channel was closed')
      end()
    })
  })
  connection.on('blocked', (reason) => {
    isBlocked = true
    logger().warn({ reason }, 'the broker is blocked and takes no messages')
  })
  connection.on('unblocked', () => {
    isBlocked = false
  })
  return {
    isOpen: () => isOpen,
    closed,
    async ready() {
      const deadline = performance.now() + BLOCKED_MAX_MS
      while (isOpen && isBlocked && performance.now() < deadline) await sleep(50)
      if (!isOpen || isBlocked) throw new Error('the broker takes no messages')
    },
    beginClose() {
      isOpen = false
    },
  }
}
