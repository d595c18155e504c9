import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type BuildOptions, build, type Plugin } from 'esbuild'

/** Beside each bundle, with all of OpenTelemetry. It is loaded where tracing is asked for. */
const CHUNK = './tracing.mjs'

/** Leaves `import('./sdk.ts')` of the tracing out of a bundle, and has it load the chunk. */
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
    // The ES modules of OpenTelemetry's packages: of their CommonJS, which Node would take, four times as much remains.
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
