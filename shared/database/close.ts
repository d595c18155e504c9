import { closeConnections } from './connections/connections.ts'
import { stopReading } from './reads/read.ts'

/** Closes every connection; statements in flight get 5 s, and a transaction in flight is let finish. A later call opens new ones. */
export async function closeDatabase(): Promise<void> {
  stopReading()
  await closeConnections()
}
