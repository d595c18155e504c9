import { Socket } from 'node:net'
import { vi } from 'vitest'
import { environment } from '#config'

/** Counts the statements that this process sends to the database while `work` runs, from the bytes of the protocol. */
export async function statementsOf(work: () => Promise<unknown>): Promise<number> {
  const { port } = new URL(environment().DATABASE_URL ?? '')
  let statements = 0
  const write = vi.spyOn(Socket.prototype, 'write')
  try {
    await work()
    for (const [index, [bytes]] of write.mock.calls.entries()) {
      const socket = write.mock.contexts[index] as Socket
      if (String(socket.remotePort) !== port || typeof bytes === 'string') continue
      // A message is its type, its length (which does not include the type), and its content.
      for (let at = 0; at < bytes.length; at += 1 + Buffer.from(bytes).readInt32BE(at + 1)) {
        const type = String.fromCharCode(bytes[at] as number)
        // Execute and simple Query messages.
        if (type === 'E' || type === 'Q') statements++
      }
    }
  } finally {
    write.mockRestore()
  }
  return statements
}
