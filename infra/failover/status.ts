import { say } from '../local/commands/operator-command.ts'
import { describe, findStates } from './servers.ts'

/** Prints the state of each server. */
export async function showStatus(): Promise<void> {
  for (const state of await findStates()) say(describe(state))
}
