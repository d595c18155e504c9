import type { Checker } from '../checks/checker.ts'
import type { Random } from '../plan.ts'
import type { Answer, Request } from './client.ts'

/** The things that each client needs. */
export interface Shop {
  checker: Checker
  /** Sends a write with a new key until it is decided. If it never is, tells the checker and returns undefined. */
  write: (request: Omit<Request, 'key'>) => Promise<{ key: string; answer: Answer } | undefined>
  read: (request: Request) => Promise<Answer | undefined>
  random: Random
  isOpen: () => boolean
}
