import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inject } from 'vitest'
import { askSetup } from './ask-setup.ts'

const root = fileURLToPath(new URL('../../../../', import.meta.url))

/** Returns the bundle of a source file, made once a run. It starts several times as fast as the sources with tsx. */
export async function bundleOf(source: URL): Promise<string> {
  const path = relative(root, fileURLToPath(source)).replaceAll('\\', '/')
  return (await askSetup<{ file: string }>(`${inject('buildsUrl')}/${path}`)).file
}

/** Returns everything that a deployment gets, built once a run, with the source files of each bundle. */
export async function buildOfAll(): Promise<{ dist: URL; sources: Map<string, string[]> }> {
  const { dist, sources } = await askSetup<{ dist: string; sources: Array<[string, string[]]> }>(
    `${inject('buildsUrl')}/dist`,
  )
  return { dist: new URL(dist), sources: new Map(sources) }
}
