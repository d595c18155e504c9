import { copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type BuildOptions, build, type Metafile } from 'esbuild'
import type { FunctionDefinition } from '#function'
import type * as triggers from '#function/triggers'
import { openApiOf } from '#openapi'
import { loadFunctions } from './infra/local/functions.ts'
import { readExamples } from './infra/local/invocation.ts'
import { docsAssets, docsFolder } from './infra/router/docs.ts'
import { createMatcher } from './infra/router/match.ts'

const root = fileURLToPath(new URL('.', import.meta.url))

/** Packages that are still CommonJS call `require`, which an ES module does not have. */
const REQUIRE_BANNER = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"

const common: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  minify: true,
  sourcemap: 'linked',
  banner: { js: REQUIRE_BANNER },
  absWorkingDir: root,
  logLevel: 'warning',
}

/** What runs when a function's bundle is started: only what its trigger needs is imported, so only that is bundled. */
function entryOf({ name, trigger }: FunctionDefinition): string {
  const starter = trigger.kind === 'outbox' ? outboxStartersOf[trigger.outbox] : startersOf[trigger.kind]
  return `
    import definition from './functions/${name}/index.ts'
    import { runProcess, startHost } from '#function/host'
    ${starter ? `import { ${starter} as startTrigger } from '#function/triggers'` : 'const startTrigger = undefined'}
    await runProcess(() => startHost(definition, startTrigger))`
}

/** What runs a function of each kind, of `#function/triggers`. */
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

function bundleFunction(definition: FunctionDefinition, dist: URL) {
  return build({
    ...common,
    stdin: { contents: entryOf(definition), resolveDir: root, sourcefile: `${definition.name}.ts`, loader: 'ts' },
    outfile: fileURLToPath(new URL(bundleOf(definition), dist)),
    metafile: true,
  })
}

const bundleOf = ({ name }: FunctionDefinition) => `functions/${name}/index.mjs`

async function bundleRouter(dist: URL) {
  const outfile = fileURLToPath(new URL('router/index.mjs', dist))
  const result = await build({ ...common, entryPoints: ['infra/router/index.ts'], outfile, metafile: true })
  await mkdir(new URL('router/docs/', dist), { recursive: true })
  for (const name of Object.keys(docsAssets)) {
    await copyFile(new URL(name, docsFolder()), new URL(`router/docs/${name}`, dist))
  }
  return result
}

/** What a deployment runs before its functions; it reads its SQL files beside it. */
async function bundleMigrations(dist: URL) {
  const outfile = fileURLToPath(new URL('migrate/index.mjs', dist))
  const result = await build({ ...common, entryPoints: ['infra/migrate/index.ts'], outfile, metafile: true })
  await cp(new URL('shared/database/migrations/', import.meta.url), new URL('migrate/migrations/', dist), {
    recursive: true,
  })
  return result
}

/** What the router, and whoever deploys the functions, needs to know of them. */
async function manifestOf(functions: FunctionDefinition[], version: string) {
  return {
    version,
    functions: functions.map((definition) => {
      const { name, summary, trigger, scope, limits } = definition
      const bundle = bundleOf(definition)
      const { kind, ...rest } = trigger
      return {
        name,
        summary,
        kind,
        scope,
        limits,
        bundle,
        ...(kind === 'http' ? { route: rest } : { trigger: rest }),
      }
    }),
    openapi: openApiOf(functions, version, await readExamples(functions)),
  }
}

/** Throws if two functions have one route: the matcher refuses to hold it twice. Names can't clash, they are folders. */
function requireUniqueRoutes(functions: FunctionDefinition[]): void {
  createMatcher(
    functions.flatMap(({ trigger }) =>
      trigger.kind === 'http' ? [{ method: trigger.method, path: trigger.path }] : [],
    ),
  )
}

/** Builds everything into `dist`, which is emptied first. Gives, for each bundle, the source files that have code in it. */
export async function buildAll(dist: URL): Promise<Map<string, string[]>> {
  const functions = await loadFunctions()
  requireUniqueRoutes(functions)
  const { version } = JSON.parse(await readFile(new URL('package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  await rm(dist, { recursive: true, force: true })
  await mkdir(dist, { recursive: true })
  const others = [bundleRouter(dist), bundleMigrations(dist)]
  const results = await Promise.all([...functions.map((one) => bundleFunction(one, dist)), ...others])
  await writeFile(new URL('manifest.json', dist), `${JSON.stringify(await manifestOf(functions, version), null, 2)}\n`)
  const names = [...functions.map(({ name }) => name), 'router', 'migrate']
  return new Map(results.map(({ metafile }, index) => [names[index] ?? '', bundledSources(metafile)]))
}

/** Builds the bundles of some functions alone into `dist`. Throws for a name that no function has. */
export async function buildFunctions(names: Iterable<string>, dist: URL): Promise<void> {
  const functions = await loadFunctions()
  await Promise.all(
    Array.from(new Set(names), (name) => {
      const definition = functions.find((candidate) => candidate.name === name)
      if (!definition) throw new Error(`There is no function named ${name}.`)
      return bundleFunction(definition, dist)
    }),
  )
}

function bundledSources(metafile: Metafile | undefined): string[] {
  const inputs = Object.values(metafile?.outputs ?? {}).flatMap((output) => Object.entries(output.inputs))
  return inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([file]) => file)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const startedAt = performance.now()
  const bundles = await buildAll(new URL('dist/', import.meta.url))
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  process.stdout.write(`${bundles.size - 2} functions, the router and the migrations are in dist/ (${seconds} s)\n`)
}
