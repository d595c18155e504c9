import { spawnSync } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type OwnStack, startOwnStack } from '../own-stack.ts'

// Third-party generators make clients from the published OpenAPI document. The clients create a product, reserve and confirm, and get a
// typed problem for a sold-out product. If a generator can't be fetched, its test is skipped with the reason.
const OPENAPI_TYPESCRIPT = ['openapi-typescript@7.13.0', 'openapi-fetch']
const OPENAPI_GENERATOR = 'openapi-generator-cli==7.26.0'
const OAPI_CODEGEN = 'github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2'

/** The output of each client: two of three pieces were confirmed, and then five are requested while one is left. */
const PRINTED = 'confirmed 5 1\n'
const COMMAND_MS_MAX = 10 * 60_000

const root = fileURLToPath(new URL('../../', import.meta.url))
const shop = (name: string) => fileURLToPath(new URL(`shops/${name}`, import.meta.url))
let folder: string
let stack: OwnStack

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stock-clients-'))
  stack = await startOwnStack(AbortSignal.timeout(COMMAND_MS_MAX))
  const description = await fetch(new URL('/openapi.json', stack.url))
  await writeFile(join(folder, 'openapi.json'), await description.text())
})

afterAll(async () => {
  await stack?.stop()
  await rm(folder, { recursive: true, force: true })
})

interface Ended {
  status: number | null
  output: string
  printed: string
}

function run(command: string, args: readonly string[], cwd: string): Ended {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: COMMAND_MS_MAX })
  return {
    status,
    printed: stdout ?? '',
    output: `${command} ${args.join(' ')}: ${error?.message ?? ''}\n${stdout}\n${stderr}`,
  }
}

/** Runs a command that must succeed, and returns its output. If it fails, throws an error with all of its output. */
function must(command: string, args: readonly string[], cwd: string): string {
  const { status, printed, output } = run(command, args, cwd)
  if (status !== 0) throw new Error(output)
  return printed
}

/** Runs a command that needs something that a machine may lack, such as a network. Skips the test if the command fails. */
function tryTo(context: { skip: (note: string) => void }, command: string, args: readonly string[], cwd: string): void {
  const { status, output } = run(command, args, cwd)
  if (status !== 0) context.skip(output.slice(0, 1_000))
}

async function folderOf(language: string): Promise<string> {
  const path = join(folder, language)
  await mkdir(path)
  return path
}

it('TypeScript: openapi-typescript and openapi-fetch', async (context) => {
  const cwd = await folderOf('typescript')
  await writeFile(join(cwd, 'package.json'), '{"type":"module","private":true}')
  tryTo(context, 'npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...OPENAPI_TYPESCRIPT], cwd)
  await copyFile(shop('shop.mts'), join(cwd, 'shop.mts'))
  const generate = ['openapi-typescript', '../openapi.json', '-o', 'api.d.ts', '--default-non-nullable=false']
  must('npx', ['--no-install', ...generate], cwd)
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]
  const compiler = [join(root, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--skipLibCheck']
  must(process.execPath, [...compiler, '--module', 'nodenext', '--target', 'es2023', ...types, 'shop.mts'], cwd)
  const tsx = join(root, 'node_modules/tsx/dist/esm/index.mjs')
  expect(must(process.execPath, ['--import', tsx, 'shop.mts', stack.url, stack.key], cwd)).toBe(PRINTED)
})

it('Python: openapi-generator', async (context) => {
  const cwd = await folderOf('python')
  tryTo(context, 'java', ['-version'], cwd)
  tryTo(context, 'python3', ['-m', 'venv', 'own'], cwd)
  tryTo(context, 'own/bin/pip', ['install', '--quiet', OPENAPI_GENERATOR], cwd)
  const generate = ['generate', '-g', 'python', '-i', '../openapi.json', '-o', 'client']
  must('own/bin/openapi-generator-cli', generate, cwd)
  tryTo(context, 'own/bin/pip', ['install', '--quiet', './client'], cwd)
  expect(must('own/bin/python', [shop('shop.py'), stack.url, stack.key], cwd)).toBe(PRINTED)
})

it('Go: oapi-codegen', async (context) => {
  const cwd = await folderOf('go')
  tryTo(context, 'go', ['version'], cwd)
  await copyFile(shop('shop.go'), join(cwd, 'shop.go'))
  await writeFile(
    join(cwd, 'codegen.yaml'),
    'package: main\ngenerate: { models: true, client: true }\noutput: client.go\n',
  )
  tryTo(context, 'go', ['run', OAPI_CODEGEN, '-config', 'codegen.yaml', '../openapi.json'], cwd)
  must('go', ['mod', 'init', 'shop'], cwd)
  tryTo(context, 'go', ['mod', 'tidy'], cwd)
  expect(must('go', ['run', '.', stack.url, stack.key], cwd)).toBe(PRINTED)
})
