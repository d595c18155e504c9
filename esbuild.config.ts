import { copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import { describeFunction, type FunctionDefinition } from '#function'
import type * as triggers from '#function/triggers'
import { openApiOf } from '#openapi'
import { bundleOptions } from './infra/build/bundle-options.ts'
import { bundleTracing, tracingApart } from './infra/build/tracing-chunk.ts'
import { readExamples } from './infra/local/invocation.ts'
import { loadFunctions } from './infra/local/load-functions.ts'
import { createMatcher } from './infra/router/match.ts'
import { docsAssets, docsFolder } from './infra/router/operations/docs.ts'

const root = fileURLToPath(new URL('.', import.meta.url))

const common: BuildOptions = { ...bundleOptions, minify: true, sourcemap: 'linked' }

/** The entry of a function's bundle. It imports only the function's kind of trigger, so only that trigger is bundled. */
function entryOf({ name, trigger }: FunctionDefinition): string {
  const starter = trigger.kind === 'outbox' ? outboxStartersOf[trigger.outbox] : startersOf[trigger.kind]
  return `
    import definition from './functions/${name}/index.ts'
    import { runProcess, startHost } from '#function/host'
    ${starter ? `import { ${starter} as startTrigger } from '#function/triggers'` : 'const startTrigger = undefined'}
    await runProcess(() => startHost(definition, startTrigger, import.meta.url))`
}

/** The trigger of each kind of function, in `#function/triggers`. */
const startersOf = {
  http: null,
  queue: 'startQueue',
  stream: 'startStream',
  schedule: 'startClock',
} as const satisfies Partial<Record<FunctionDefinition['trigger']['kind'], keyof typeof triggers | null>>

const outboxStartersOf = { events: 'startEventOutbox', jobs: 'startJobOutbox' } as const satisfies Record<
  string,
  keyof typeof triggers
>

/** Bundles all functions in one run, so that shared files are read once. Returns, for each, the source files with code in its bundle. */
async function bundleFunctions(definitions: FunctionDefinition[], dist: URL): Promise<Map<string, string[]>> {
  const entries: Plugin = {
    name: 'entries',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^entry:/ }, ({ path }) => ({ path: path.slice('entry:'.length), namespace: 'entry' }))
      onLoad({ filter: /./, namespace: 'entry' }, ({ path: name }) => {
        const definition = definitions.find((candidate) => candidate.name === name)
        return definition && { contents: entryOf(definition), resolveDir: root, loader: 'ts' }
      })
    },
  }
  const { metafile } = await build({
    ...common,
    // Only list-functions uses this name, so only its bundle contains the value.
    define: { BUILT_FUNCTIONS: JSON.stringify(definitions.map(describeFunction)) },
    entryPoints: definitions.map(({ name }) => ({ in: `entry:${name}`, out: `functions/${name}/index` })),
    outdir: fileURLToPath(dist),
    outExtension: { '.js': '.mjs' },
    plugins: [entries, tracingApart],
    metafile: true,
  })
  await bundleTracing(
    common,
    definitions.map(({ name }) => fileURLToPath(new URL(`functions/${name}/`, dist))),
  )
  return new Map(
    Object.values(metafile.outputs).flatMap((output) =>
      output.entryPoint ? [[output.entryPoint.slice('entry:'.length), bundledSources(output)]] : [],
    ),
  )
}

const bundleOf = ({ name }: FunctionDefinition) => `functions/${name}/index.mjs`

/** Bundles one file with everything that it needs. Returns the source files with code in the bundle. */
async function bundleFile(file: string, outfile: string): Promise<string[]> {
  const { metafile } = await build({ ...common, entryPoints: [file], outfile, plugins: [tracingApart], metafile: true })
  return Object.values(metafile.outputs).flatMap(bundledSources)
}

async function bundleRouter(dist: URL): Promise<string[]> {
  const sources = await bundleFile('infra/router/index.ts', fileURLToPath(new URL('router/index.mjs', dist)))
  await bundleTracing(common, [fileURLToPath(new URL('router/', dist))])
  await mkdir(new URL('router/docs/', dist), { recursive: true })
  for (const name of Object.keys(docsAssets)) {
    await copyFile(new URL(name, docsFolder()), new URL(`router/docs/${name}`, dist))
  }
  return sources
}

/** Makes the bundle that a deployment runs before its functions, with its SQL files beside it, and the bundle that runs after a promotion. */
async function bundleMigrations(dist: URL): Promise<string[]> {
  const promoted = await bundleFile(
    'infra/backup/restore/promoted.ts',
    fileURLToPath(new URL('migrate/promoted.mjs', dist)),
  )
  const migrate = await bundleFile('infra/migrate/index.ts', fileURLToPath(new URL('migrate/index.mjs', dist)))
  await copyMigrations(new URL('migrate/', dist))
  return [...promoted, ...migrate]
}

/** Copies the SQL files to the bundles that run or read them. */
const copyMigrations = (to: URL) =>
  cp(new URL('shared/database/migrations/', import.meta.url), new URL('migrations/', to), { recursive: true })

/** Makes the bundles of the backup process and its command, with pgBackRest's common settings and the migrations' names beside them. */
async function bundleBackup(dist: URL): Promise<string[]> {
  const service = await bundleFile('infra/backup/index.ts', fileURLToPath(new URL('backup/index.mjs', dist)))
  const command = await bundleFile('infra/backup/cli.ts', fileURLToPath(new URL('backup/cli.mjs', dist)))
  await copyFile(new URL('infra/backup/pgbackrest.conf', import.meta.url), new URL('backup/pgbackrest.conf', dist))
  await copyMigrations(new URL('backup/', dist))
  return [...service, ...command]
}

/** Makes the manifest of the functions, for the router and for deployments. */
async function manifestOf(functions: FunctionDefinition[], version: string) {
  return {
    version,
    functions: functions.map((definition) => {
      const { name, summary, trigger, scope, limits, emits, isRead } = definition
      const bundle = bundleOf(definition)
      const { kind, ...rest } = trigger
      return {
        name,
        summary,
        kind,
        scope,
        limits,
        emits,
        bundle,
        ...(kind === 'http' ? { route: { ...rest, isRead } } : { trigger: rest }),
      }
    }),
    openapi: openApiOf(functions, version, await readExamples(functions)),
  }
}

/** Throws if two functions have the same route. Names can't clash, since they are folders. */
function requireUniqueRoutes(functions: FunctionDefinition[]): void {
  createMatcher(
    functions.flatMap(({ trigger }) =>
      trigger.kind === 'http' ? [{ method: trigger.method, path: trigger.path }] : [],
    ),
  )
}

/** The folders in `dist` that are not functions. */
const others = new Set(['router', 'migrate', 'backup'])

/** Empties `dist` and builds everything into it. Returns the source files of each bundle. */
export async function buildAll(dist: URL): Promise<Map<string, string[]>> {
  const functions = await loadFunctions()
  requireUniqueRoutes(functions)
  const { version } = JSON.parse(await readFile(new URL('package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  await rm(dist, { recursive: true, force: true })
  await mkdir(dist, { recursive: true })
  const [bundles, router, migrate, backup] = await Promise.all([
    bundleFunctions(functions, dist),
    bundleRouter(dist),
    bundleMigrations(dist),
    bundleBackup(dist),
  ])
  await writeFile(new URL('manifest.json', dist), `${JSON.stringify(await manifestOf(functions, version), null, 2)}\n`)
  return bundles.set('router', router).set('migrate', migrate).set('backup', backup)
}

function bundledSources({ inputs }: { inputs: Record<string, { bytesInOutput: number }> }): string[] {
  return Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : []))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const startedAt = performance.now()
  const bundles = await buildAll(new URL('dist/', import.meta.url))
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const functions = [...bundles.keys()].filter((name) => !others.has(name)).length
  process.stdout.write(
    `${functions} functions, the router, the migrations and the backups are in dist/ (${seconds} s)\n`,
  )
}
