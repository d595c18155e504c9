import { readdir } from 'node:fs/promises'
import type { FunctionDefinition } from '#function'

const directory = new URL('../../../functions/', import.meta.url)

/** A function by its name, for tests of several functions together. */
export async function functionNamed(name: string): Promise<FunctionDefinition> {
  const module: { default: FunctionDefinition } = await import(new URL(`${name}/index.ts`, directory).href)
  return module.default
}

/** Every function of `functions/`. */
export async function allFunctions(): Promise<FunctionDefinition[]> {
  const entries = await readdir(directory, { withFileTypes: true })
  return Promise.all(entries.filter((entry) => entry.isDirectory()).map((entry) => functionNamed(entry.name)))
}
