import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { environment } from '#config'
import { bundleOf } from '#testing/builds'
import { npmScript } from '#testing/npm-script'

/** Runs a command of `infra/local/commands` on the test's database, without a running stack. Returns its output, or `failed: ` and its stderr. */
export async function runCommand(name: string, ...args: string[]): Promise<string> {
  return run([process.execPath, await bundleOf(new URL(`../commands/${name}.ts`, import.meta.url))], args)
}

/** The same for a command that is a script of package.json, as npm runs it. */
export const runScript = (name: string, ...args: string[]) => run(npmScript(name), args)

async function run([file, ...words]: [string, ...string[]], args: string[]): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'stock-command-'))
  const { DATABASE_URL, PATH } = environment()
  const env = { PATH, DATABASE_URL, DATA_DIR: dataDir, LOG_LEVEL: 'silent' }
  try {
    const { stdout } = await promisify(execFile)(file, [...words, ...args], { env })
    return stdout
  } catch (error) {
    return `failed: ${(error as { stderr: string }).stderr}`
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}
