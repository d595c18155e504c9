import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type BuildOptions, build, type Plugin } from 'esbuild'

/** A file beside each bundle that contains all of OpenTelemetry. It is loaded if tracing is turned on. */
const CHUNK = './tracing.mjs'

/** Leaves tracing's `import('./sdk.ts')` out of a bundle, and makes the bundle load the chunk instead. */
export const tracingApart: Plugin = {
  name: 'tracing-apart',
  setup({ onResolve }) {
    onResolve({ filter: /\/sdk\.ts$/ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: CHUNK, external: true } : undefined,
    )
  },
}

/** Writes the chunk into folders of bundles. */
export async function bundleTracing(options: BuildOptions, folders: readonly string[]): Promise<void> {
  const { outputFiles = [] } = await build({
    ...options,
    // Uses the ES modules of OpenTelemetry's packages: from their CommonJS, which Node would take, four times as much code remains.
    mainFields: ['module', 'main'],
    entryPoints: ['shared/telemetry/tracing/sdk.ts'],
    outfile: CHUNK,
    write: false,
  })
  for (const folder of folders) {
    await mkdir(folder, { recursive: true })
    for (const { path, contents } of outputFiles) await writeFile(join(folder, basename(path)), contents)
  }
}
