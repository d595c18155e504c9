import { say } from '../local/commands/operator-command.ts'
import { describe, findStates } from './servers.ts'

/** Prints what each server is. */
export async function showStatus(): Promise<void> {
  for (const state of await findStates()) say(describe(state))
}
