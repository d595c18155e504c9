import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build as bundle, type Plugin } from 'esbuild'
import { bundleOptions } from '../build/bundle-options.ts'

/** The programs that test files start as processes. */
export interface Builds {
  /** The name `dist` stands for everything that a deployment gets. Any other name is a source file, which becomes one bundle. */
  build: (name: string) => Promise<object>
  remove: () => Promise<void>
}

/** Builds each thing once, at its first request, into a folder outside the repository, so that no node_modules folder can be used. */
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
  // This import loads every function, which most runs of a single file do not need.
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
    // Modules from which nothing is imported must run too, as they do from source: some add a metric.
    ignoreAnnotations: true,
  })
  return { file }
}

/** Each module keeps its own URL, by which it finds the files beside it. */
const keepUrls: Plugin = {
  name: 'keep-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      return { contents: text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href)), loader: 'ts' }
    })
  },
}
