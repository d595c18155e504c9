import { closeConnections } from './connections/connections.ts'
import { stopReading } from './reads/read.ts'

/** Closes every connection. Statements in flight get 5 s, and a transaction in flight may finish. A later call opens new connections. */
export async function closeDatabase(): Promise<void> {
  stopReading()
  await closeConnections()
}
