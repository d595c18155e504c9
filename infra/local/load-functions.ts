import { readdir } from 'node:fs/promises'
import type { FunctionDefinition } from '#function'

const FOLDER = new URL('../../functions/', import.meta.url)

/** Loads every function, in the order of folder names. Throws if a folder and its function have different names. */
export async function loadFunctions(): Promise<FunctionDefinition[]> {
  const entries = await readdir(FOLDER, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  return Promise.all(names.sort().map(loadFunction))
}

/** The function in `functions/<name>`. Throws if there is none. */
export async function loadFunction(name: string): Promise<FunctionDefinition> {
  const module = (await import(`../../functions/${name}/index.ts`)) as { default: FunctionDefinition }
  if (module.default.name !== name) throw new Error(`functions/${name} declares the name '${module.default.name}'`)
  return module.default
}
