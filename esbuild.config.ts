import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build } from 'esbuild'
import type { FunctionDefinition } from '#function'
import { openApiOf } from '#function/openapi'
import { loadFunctions } from './infra/local/functions.ts'
import { docsAssets, docsFolder } from './infra/router/docs.ts'
import { createMatcher } from './infra/router/match.ts'

const root = fileURLToPath(new URL('.', import.meta.url))
const dist = new URL('dist/', import.meta.url)

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
function entryOf({ name }: FunctionDefinition): string {
  return `
    import definition from './functions/${name}/index.ts'
    import { runProcess, startHost } from '#function/host'
    await runProcess(() => startHost(definition))`
}

function bundleFunction(definition: FunctionDefinition) {
  return build({
    ...common,
    stdin: { contents: entryOf(definition), resolveDir: root, sourcefile: `${definition.name}.ts`, loader: 'ts' },
    outfile: `dist/functions/${definition.name}/index.mjs`,
  })
}

async function bundleRouter(): Promise<void> {
  await build({ ...common, entryPoints: ['infra/router/index.ts'], outfile: 'dist/router/index.mjs' })
  await mkdir(new URL('router/docs/', dist), { recursive: true })
  for (const name of Object.keys(docsAssets)) {
    await copyFile(new URL(name, docsFolder()), new URL(`router/docs/${name}`, dist))
  }
}

/** What the router, and whoever deploys the functions, needs to know of them. */
function manifestOf(functions: FunctionDefinition[], version: string) {
  return {
    version,
    functions: functions.map(({ name, summary, trigger, scope, limits }) => {
      const { kind, ...rest } = trigger
      return {
        name,
        summary,
        kind,
        scope,
        limits,
        bundle: `functions/${name}/index.mjs`,
        ...(kind === 'http' ? { route: rest } : { trigger: rest }),
      }
    }),
    openapi: openApiOf(functions, version),
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

async function main(): Promise<void> {
  const startedAt = performance.now()
  const functions = await loadFunctions()
  requireUniqueRoutes(functions)
  const { version } = JSON.parse(await readFile(new URL('package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  await rm(dist, { recursive: true, force: true })
  await mkdir(dist, { recursive: true })
  await Promise.all([...functions.map(bundleFunction), bundleRouter()])
  await writeFile(new URL('manifest.json', dist), `${JSON.stringify(manifestOf(functions, version), null, 2)}\n`)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  process.stdout.write(`${functions.length} functions and the router are in dist/ (${seconds} s)\n`)
}

await main()
