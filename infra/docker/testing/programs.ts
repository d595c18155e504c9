import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { environment } from '#config'

/** Where a program is that the tests do not bring: `variable` names it, or else it is in PATH under `name`. Undefined, and a line that says so, where it is not. */
export function findProgram(name: string, variable: string): string | undefined {
  const { PATH = '', [variable]: named } = environment()
  const found =
    named ??
    PATH.split(delimiter)
      .map((folder) => join(folder, name))
      .find(isExecutable)
  if (!found) process.stdout.write(`skipped: there is no ${name} in PATH, and ${variable} names none\n`)
  return found
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
