import { mkdir } from 'node:fs/promises'
import { STATUS_CODES } from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ensureBootstrapKey } from '#access'
import { shutDown } from '#async'
import { environment, overrideEnvironment } from '#config'
import { migrate } from '#database'
import { lockFolder } from '../folder-lock.ts'
import { invoke, readInvocation } from '../invocation.ts'
import { loadFunction, loadFunctions } from '../load-functions.ts'
import { startCluster } from '../postgres/cluster.ts'
import { useRunningStack } from '../running-stack.ts'
import { seedCatalogue } from '../seed.ts'
import { readSettings, type Settings } from '../settings.ts'

const USAGE = `npm run invoke -- <function> [options]

Runs one function in this process, against the stack that npm start has running, or else on an embedded
PostgreSQL of its own, and prints the answer: status, headers, body. Without --event or --data it sends
functions/<function>/event.json.

  --event FILE            the input: { given, params, headers, data, event }, as in event.json
  --data JSON             the body of the request, or the data of the event
  --param name=value      a parameter of the path or of the query; may be given several times
  --header 'name: value'  may be given several times

  npm run invoke -- reserve-stock --data '{"lines":[{"sku":"KIT-MUG-WHT","quantity":2}]}'
`

const note = (line: string) => process.stderr.write(`${line}\n`)

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      event: { type: 'string' },
      data: { type: 'string' },
      param: { type: 'string', multiple: true, default: [] },
      header: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const [name] = positionals
  if (values.help || name === undefined) {
    process.stdout.write(USAGE)
    process.exitCode = values.help ? 0 : 1
    return
  }
  const definition = await loadFunction(name).catch(() => {
    throw new Error(`There is no function '${name}'. The folders in functions/ are their names.`)
  })
  // list-functions answers from the functions whose code is loaded in its process.
  if (name === 'list-functions') await loadFunctions()
  const file = values.event ?? new URL(`../../../functions/${name}/event.json`, import.meta.url)
  const invocation =
    values.data === undefined
      ? await readInvocation(file)
      : { given: [], params: {}, headers: {}, data: JSON.parse(values.data), event: undefined }
  Object.assign(invocation.params, Object.fromEntries(values.param.map((pair) => split(pair, '='))))
  Object.assign(invocation.headers, Object.fromEntries(values.header.map((pair) => split(pair, ':'))))

  const settings = readSettings(environment())
  const stop = await connect(settings)
  try {
    await print(await invoke(definition, invocation, settings.bootstrapApiKey))
  } finally {
    await shutDown()
    await stop()
  }
}

function split(pair: string, separator: string): [string, string] {
  const at = pair.indexOf(separator)
  if (at < 1) throw new Error(`'${pair}' is not of the form name${separator}value`)
  return [pair.slice(0, at), pair.slice(at + 1).trim()]
}

/** Points this process at the running stack, or starts a database. Returns the function to call at the end. */
async function connect(settings: Settings): Promise<() => Promise<void>> {
  const routerUrl = await useRunningStack(settings.dataDir)
  if (routerUrl !== undefined) {
    note(`on the stack at ${routerUrl}`)
    return async () => {}
  }
  if (settings.databaseUrl) return async () => {}
  await mkdir(settings.dataDir, { recursive: true })
  const lock = await lockFolder(settings.dataDir)
  const cluster = await startCluster({ dataDir: join(settings.dataDir, 'postgres'), replica: false, progress: note })
  overrideEnvironment({ DATABASE_URL: cluster.primaryUrl })
  await migrate()
  await ensureBootstrapKey(settings.bootstrapApiKey)
  if (settings.seed) await seedCatalogue(note)
  return async () => {
    await cluster.stop()
    await lock.release()
  }
}

async function print(response: Response): Promise<void> {
  const text = await response.text()
  const lines = [`HTTP ${response.status} ${STATUS_CODES[response.status]}`]
  for (const [name, value] of response.headers) lines.push(`${name}: ${value}`)
  const isJson = response.headers.get('content-type')?.includes('json')
  process.stdout.write(`${lines.join('\n')}\n\n${isJson ? JSON.stringify(JSON.parse(text), null, 2) : text}\n`)
  process.exitCode = response.ok || response.status === 304 ? 0 : 1
}

main().catch((error: unknown) => {
  note(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
})
