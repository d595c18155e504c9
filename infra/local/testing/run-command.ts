import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { environment } from '#config'

/** What a command of `infra/local/commands` prints on the test's database, with no stack running; or what it fails with. */
export async function runCommand(name: string, ...args: string[]): Promise<string> {
  const file = fileURLToPath(new URL(`../commands/${name}.ts`, import.meta.url))
  const dataDir = await mkdtemp(join(tmpdir(), 'stock-command-'))
  const { DATABASE_URL, PATH } = environment()
  const env = { PATH, DATABASE_URL, DATA_DIR: dataDir, LOG_LEVEL: 'silent' }
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', file, ...args], { env })
    return stdout
  } catch (error) {
    return `failed: ${(error as { stderr: string }).stderr}`
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}
