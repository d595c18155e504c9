import type { ConsumeMessage } from 'amqplib'
import { expect, it } from 'vitest'
import { createAcknowledger } from './acknowledge.ts'

/** An acknowledger with messages 1 to `count` delivered, and the acknowledgements that it has sent. */
function withMessages(count: number) {
  const sent: Array<[tag: number, allUpTo: boolean]> = []
  const ack = ({ fields }: ConsumeMessage, allUpTo = false) => sent.push([fields.deliveryTag, allUpTo])
  let isOpen = true
  const { note, acknowledge } = createAcknowledger({ ack }, () => isOpen)
  const messages = Array.from(
    { length: count },
    (_, index) => ({ fields: { deliveryTag: index + 1 } }) as ConsumeMessage,
  )
  messages.forEach(note)
  return {
    sent,
    close: () => {
      isOpen = false
    },
    acknowledge: async (...tags: number[]) => {
      for (const tag of tags) acknowledge(messages[tag - 1] as ConsumeMessage)
      await new Promise(setImmediate)
    },
  }
}

it('acknowledges all up to a message at once only where nothing in front of it is in hand', async () => {
  const { sent, acknowledge } = withMessages(9)
  await acknowledge(3, 1, 2)
  expect(sent.splice(0)).toEqual([[3, true]])
  await acknowledge(6, 5, 8)
  expect(sent.splice(0)).toEqual([
    [6, false],
    [5, false],
    [8, false],
  ])
  await acknowledge(4, 9)
  expect(sent.splice(0)).toEqual([
    [4, true],
    [9, false],
  ])
  await acknowledge(7)
  expect(sent).toEqual([[7, true]])
})

it('sends nothing over a connection that is gone', async () => {
  const { sent, close, acknowledge } = withMessages(2)
  close()
  await acknowledge(1, 2)
  expect(sent).toEqual([])
})
