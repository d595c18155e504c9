import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startOwnStack } from '../own-stack.ts'
import { readContract } from './contract.ts'
import { watchLog } from './log-check.ts'
import { type Counts, reportOn, type Write } from './report.ts'

export type { Counts }

export interface EndToEndOptions {
  /** A running stack, with an admin key. Without it, a stack is started and stopped. A disposable stack, without another admin, gets more stories. */
  stack?: { url: string; key: string; disposable?: boolean }
  /** The name of the one story to run. */
  folder?: string | undefined
  write?: Write
  /** Ends the run early, and then also stops a stack that was started for it. */
  signal?: AbortSignal
}

const USAGE = `npm run e2e: the stories of stock-management.postman_collection.json, on a stack of their own.

  npm run e2e -- --folder 'Sold out'       one story
  npm run e2e -- --url URL --key KEY       on a stack that runs already; KEY is an admin's (npm start: dev-admin-key)
`

/** A run usually takes half a minute. A third of it is spent waiting for holds and keys to expire. */
const RUN_MS_MAX = 10 * 60_000
/** Twice the time-out of a function. */
const REQUEST_MS_MAX = 10_000
const SCRIPT_MS_MAX = 10_000
const LOG_FAULTS_SHOWN_MAX = 5

/** Runs the stories, and reports them. Throws if they can't be run. */
export async function runEndToEnd(options: EndToEndOptions = {}): Promise<Counts> {
  const { stack, folder, write = writeOut, signal = new AbortController().signal } = options
  const collection = await readCollection(folder)
  if (stack) {
    await checkThatItAnswers(stack)
    const { counts } = await runStories({ collection, folder, disposable: false, ...stack }, write, signal)
    return counts
  }
  write('starting a stack\n')
  const own = await startOwnStack(signal)
  try {
    const { counts, faultsOf } = await runStories({ collection, folder, ...own, disposable: true }, write, signal)
    // The last lines of the log may not have arrived yet.
    await own.stop()
    checkLog(faultsOf(own.log()), counts, write)
    if (counts.failed > 0) write(`the stack’s output ended with:\n${own.tail()}\n`)
    return counts
  } finally {
    await own.stop()
  }
}

/** Counts the check of the log as one more assertion. */
function checkLog(faults: readonly string[], counts: Counts, write: Write): void {
  counts[faults.length === 0 ? 'passed' : 'failed']++
  for (const fault of faults.slice(0, LOG_FAULTS_SHOWN_MAX)) write(`  FAILED  the stack’s log: ${fault}\n`)
}

type Collection = { item: Array<{ name: string }> }

async function readCollection(folder: string | undefined): Promise<Collection> {
  const path = new URL('./stock-management.postman_collection.json', import.meta.url)
  const collection = JSON.parse(await readFile(path, 'utf8')) as Collection
  const stories = collection.item.map(({ name }) => name)
  if (folder !== undefined && !stories.includes(folder)) {
    throw new Error(`There is no story '${folder}'. There are:\n${stories.map((name) => `  ${name}`).join('\n')}`)
  }
  return collection
}

/** Throws one clear line if every story would fail for the same reason. */
async function checkThatItAnswers({ url, key }: { url: string; key: string }): Promise<void> {
  const headers = { authorization: `Bearer ${key}` }
  const signal = AbortSignal.timeout(REQUEST_MS_MAX)
  const answer = await fetch(new URL('/v1/api-keys?limit=1', url), { headers, signal }).catch((error: Error) => {
    throw new Error(`There is no stack at ${url}: ${(error.cause ?? error) as Error}`)
  })
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}: is the key an admin's?`)
}

interface Run {
  collection: Collection
  folder: string | undefined
  url: string
  key: string
  disposable: boolean
}

interface Result {
  counts: Counts
  /** Returns the faults in the log of the stack. */
  faultsOf: (lines: readonly string[]) => string[]
}

async function runStories(run: Run, write: Write, signal: AbortSignal): Promise<Result> {
  const { collection, folder, url, key, disposable } = run
  // Loaded here because it takes a second. --help and a stack that does not start should not wait for that.
  const { default: newman } = await import('newman')
  keepFromProxy(url)
  const contradiction = await readContract(url)
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const variables = { baseUrl: url.replace(/\/+$/, ''), apiKey: key, disposable: String(disposable) }
    const options = {
      collection,
      ...(folder !== undefined && { folder }),
      envVar: Object.entries(variables).map(([name, value]) => ({ key: name, value })),
      reporters: [],
      timeout: RUN_MS_MAX,
      timeoutRequest: REQUEST_MS_MAX,
      timeoutScript: SCRIPT_MS_MAX,
    }
    const emitter = newman.run(options, (error) => {
      report.end()
      if (error) reject(error)
      else resolve({ counts: report.counts, faultsOf })
    })
    const report = reportOn(emitter, write, contradiction)
    const faultsOf = watchLog(emitter)
    // Newman can't be stopped half-way: it continues against a stopping stack, and its results are ignored.
    const leave = () => {
      report.end()
      reject(signal.reason)
    }
    signal.addEventListener('abort', leave, { once: true })
  })
}

/** Newman uses HTTP_PROXY, which on many companies' machines would send even requests to 127.0.0.1 elsewhere. */
function keepFromProxy(url: string): void {
  const others = process.env.NO_PROXY ?? process.env.no_proxy
  process.env.NO_PROXY = [others, new URL(url).hostname].filter(Boolean).join(',')
}

function writeOut(text: string): void {
  process.stdout.write(text)
}

async function main(): Promise<void> {
  const options = {
    url: { type: 'string' },
    key: { type: 'string' },
    folder: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  } as const
  const { url, key, folder, help } = parseArgs({ options }).values
  if (help) return writeOut(USAGE)
  if ((url === undefined) !== (key === undefined)) throw new Error('--url and --key go together.')
  const interruption = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => interruption.abort(new Error(`stopped by ${name}`)))
  }
  const stack = url !== undefined && key !== undefined ? { stack: { url, key } } : {}
  const counts = await runEndToEnd({ ...stack, folder, signal: interruption.signal })
  writeOut(`e2e: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
  // A run that checked nothing has proved nothing.
  if (counts.failed > 0 || counts.passed === 0) process.exitCode = 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    writeOut('e2e: 0 passed, 1 failed, 0 skipped\n')
    process.exit(1)
  })
}
