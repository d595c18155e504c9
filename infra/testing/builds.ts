import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build as bundle, type Plugin } from 'esbuild'
import { bundleOptions } from '../build/bundle-options.ts'

/** What test files start as processes. */
export interface Builds {
  /** What `dist` names is all that a deployment gets; any other name is that of a source file, which becomes one bundle. */
  build: (name: string) => Promise<object>
  remove: () => Promise<void>
}

/** Builds each thing once, when it is first asked for, into a folder outside of the repository, so that no node_modules folder can help. */
export async function createBuilds(): Promise<Builds> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-builds-'))
  const begun = new Map<string, Promise<object>>()
  return {
    build(name) {
      const built = begun.get(name) ?? (name === 'dist' ? buildDist(folder) : bundleSource(name, folder))
      begun.set(name, built)
      return built
    },
    remove: async () => {
      await Promise.allSettled(begun.values())
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function buildDist(folder: string): Promise<object> {
  // It loads every function, which most runs of a single file do not need.
  const { buildAll } = await import('../../esbuild.config.ts')
  const dist = pathToFileURL(join(folder, 'dist/'))
  return { dist: dist.href, sources: [...(await buildAll(dist))] }
}

async function bundleSource(source: string, folder: string): Promise<object> {
  const file = join(folder, source.replace(/\.ts$/, '.mjs'))
  await bundle({
    ...bundleOptions,
    entryPoints: [source],
    outfile: file,
    plugins: [keepUrls],
    // Modules that nothing is taken from are run too, as they are from source: some add a metric.
    ignoreAnnotations: true,
  })
  return { file }
}

/** A module keeps its own URL, by which it finds the files beside it. */
const keepUrls: Plugin = {
  name: 'keep-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      return { contents: text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href)), loader: 'ts' }
    })
  },
}
