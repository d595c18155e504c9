import { readFileSync } from 'node:fs'
import { dirname, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseSync, Visitor } from 'oxc-parser'

/** The modules and packages that a module may import, besides itself and Node's own modules. */
interface Allowed {
  modules: readonly string[]
  packages: readonly string[]
}

const allow = (modules: readonly string[], packages: readonly string[]): Allowed => ({ modules, packages })

/** Modules that every other module may import. */
const ground = ['async', 'config', 'errors', 'ids', 'input', 'telemetry']
const domain = ['stock', 'products', 'webhooks']
const shared = [...ground, 'redis', 'database', 'cache', 'events', 'jobs', 'access', 'function', 'openapi', ...domain]

/**
 * The arrows of the project: each module with the modules and packages that it may import, including types. A driver is listed only at
 * the module that owns it. A module is a folder of `shared/` or `infra/`. All functions are one module, and so are all end-to-end tests.
 */
export const arrows: Readonly<Record<string, Allowed>> = {
  async: allow([], []),
  errors: allow([], ['zod']),
  ids: allow([], ['uuid']),
  input: allow(['errors'], ['zod']),
  config: allow(['errors', 'input'], ['zod']),
  telemetry: allow(
    ['async', 'config'],
    [
      '@opentelemetry/api',
      '@opentelemetry/exporter-trace-otlp-proto',
      '@opentelemetry/resources',
      '@opentelemetry/sdk-trace-base',
      'pino',
      'prom-client',
      'zod',
    ],
  ),
  database: allow(ground, ['postgres', 'cockatiel', 'zod']),
  redis: allow(ground, ['ioredis', 'cockatiel', 'zod']),
  cache: allow([...ground, 'database', 'redis'], ['cockatiel', 'lru-cache', 'zod']),
  access: allow([...ground, 'database', 'redis'], ['@hono/node-server', 'lru-cache', 'zod']),
  events: allow([...ground, 'database'], ['kafkajs', 'zod']),
  jobs: allow([...ground, 'database'], ['amqplib', 'zod']),
  stock: allow([...ground, 'database', 'cache', 'events', 'jobs'], ['zod']),
  products: allow([...ground, 'database', 'cache', 'events', 'jobs', 'stock'], ['zod']),
  webhooks: allow([...ground, 'database', 'events', 'jobs'], ['lru-cache', 'zod']),
  function: allow(
    [...ground, 'database', 'redis', 'cache', 'events', 'jobs', 'access'],
    ['hono', '@hono/node-server', 'lru-cache', 'zod'],
  ),
  openapi: allow([...ground, 'function'], ['zod']),
  functions: allow(['access', 'errors', 'events', 'function', 'jobs', ...domain], ['zod']),
  'infra/router': allow([...ground, 'function'], ['@hono/node-server', 'undici', 'zod']),
  'infra/migrate': allow([...ground, 'database', 'access', 'infra/local'], ['zod']),
  'infra/local': allow([...shared, 'infra/router'], ['amqplib', 'postgres', 'zod']),
  'infra/backup': allow([...shared, 'infra/docker', 'infra/local'], ['zod']),
  'infra/docker': allow([], []),
  'infra/failover': allow(['config', 'infra/docker', 'infra/local'], []),
  'infra/dashboards': allow([], ['@grafana/grafana-foundation-sdk']),
  'infra/docs': allow(shared, ['yaml', 'zod']),
  'infra/build': allow([], ['esbuild']),
  build: allow([...shared, 'infra/build', 'infra/local', 'infra/router'], ['esbuild', 'vitest']),
}

/** The grammars of the queries in dashboards and alerts. */
const queryParsers = ['@grafana/lezer-logql', '@grafana/lezer-traceql', '@prometheus-io/lezer-promql']
/** Packages that tests may import in addition to those of their module. Test helpers count as tests. */
const ofTests = [
  ...queryParsers,
  'ajv',
  'ajv-formats',
  'fast-check',
  'hono',
  'standardwebhooks',
  'vitest',
  'yaml',
  'zod',
]
const isOfTests = (file: string) =>
  /\.test\.ts$|[-/]fixtures?\.ts$|\/testing\//.test(file) || moduleOf(file) === 'e2e' || file === 'vitest.config.ts'

/** Files by their `#name`. */
const names: Record<string, string> = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8'),
).imports

/** Returns the imports that the arrows forbid, each with the reason. `source` is the text of `file`, a path from the root of the project. */
export function forbiddenImports(file: string, source: string): string[] {
  return importsOf(file, source).flatMap((name) => whyForbidden(file, name) ?? [])
}

/** Returns the names in all imports of a file, including type imports and re-exports. Throws if the file can't be parsed. */
function importsOf(file: string, source: string): string[] {
  const { program, errors } = parseSync(file, source)
  if (errors.length > 0) throw new Error(`${file}: ${errors.map(({ message }) => message).join(', ')}`)
  const found: string[] = []
  const note = ({ source: named }: { source: { type: string; value?: unknown } | null }) => {
    if (typeof named?.value === 'string') found.push(named.value)
  }
  new Visitor({
    ImportDeclaration: note,
    ExportNamedDeclaration: note,
    ExportAllDeclaration: note,
    ImportExpression: note,
    TSImportType: note,
  }).visit(program)
  return found
}

function whyForbidden(file: string, name: string): string | undefined {
  const from = moduleOf(file)
  const refusal = (reason: string) => `${file} imports ${name}: ${reason}`
  if (name.startsWith('node:')) return undefined
  if (!name.startsWith('.') && !name.startsWith('#')) {
    return allowsPackage(file, from, packageOf(name)) ? undefined : refusal(`${from} does not own this package`)
  }
  const target = name.startsWith('#') ? names[name]?.slice(2) : normalize(`${dirname(file)}/${name}`)
  if (target === undefined) return refusal('package.json has no such name')
  const to = moduleOf(target)
  if (isOfTests(target) && !isOfTests(file)) return refusal('only tests import what is made for tests')
  if (to === from) return from === 'functions' && !isOfTests(file) ? whyNotOfFunction(file, target, refusal) : undefined
  if (name.startsWith('.') && target.startsWith('shared/') && !seesInside(from)) {
    return refusal('a folder of shared/ is entered by its name')
  }
  if (isOfTests(file) || arrows[from]?.modules.includes(to)) return undefined
  return refusal(`no arrow leads from ${from} to ${to}`)
}

function whyNotOfFunction(file: string, target: string, refusal: (reason: string) => string): string | undefined {
  return dirname(file) === dirname(target) ? undefined : refusal('functions do not import each other')
}

/** Modules that may import any file: tests of the whole project, which break things on the inside, and documents about all of it. */
const seesInside = (from: string) => ['e2e', 'infra/docs', 'infra/testing'].includes(from)

function allowsPackage(file: string, from: string, name: string): boolean {
  if (seesInside(from)) return true
  return arrows[from]?.packages.includes(name) === true || (isOfTests(file) && ofTests.includes(name))
}

function moduleOf(file: string): string {
  const [top = '', folder = '', ...rest] = file.split('/')
  if (top === 'shared') return folder
  if (top === 'infra' && rest.length > 0) return `infra/${folder}`
  return file.includes('/') ? top : 'build'
}

/** `@scope/name/part` belongs to the package `@scope/name`. */
function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/')
}
