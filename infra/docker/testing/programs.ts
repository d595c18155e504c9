import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { environment } from '#config'

/** Finds a program that the tests do not install: by `variable`, or else in PATH by `name`. If there is none, says so and returns undefined. */
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
