import type { Checker } from '../checks/checker.ts'
import type { Random } from '../plan.ts'
import type { Answer, Request } from './client.ts'

/** What each client needs. */
export interface Shop {
  checker: Checker
  /** Sends a write under a key of its own until it is decided. Undefined if it never is, which the checker is told. */
  write: (request: Omit<Request, 'key'>) => Promise<{ key: string; answer: Answer } | undefined>
  read: (request: Request) => Promise<Answer | undefined>
  random: Random
  isOpen: () => boolean
}
