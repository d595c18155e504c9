import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))
/** A command may have to build images. */
const COMMAND_MS_MAX = 15 * 60_000
const TAIL = 30

interface CommandOptions {
  env: Record<string, string | undefined>
  timeoutMs?: number
  /** Writes the command's output to this process's own output as it arrives, instead of returning it. */
  isShown?: boolean
}

/** Runs `docker …` in the project's folder and returns its output. Throws with the end of that output if it fails or takes too long. */
export function runDocker(
  args: string[],
  { env, timeoutMs = COMMAND_MS_MAX, isShown }: CommandOptions,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const stdio = isShown ? 'inherit' : 'pipe'
    const child = spawn('docker', args, { cwd: root, env, stdio: ['ignore', stdio, stdio], timeout: timeoutMs })
    let output = ''
    let errors = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(output.trim())
      const tail = `${output}${errors}`.trim().split('\n').slice(-TAIL).join('\n')
      reject(new Error(`docker ${args.join(' ')} ended with ${signal ?? code}:\n${tail}`))
    })
  })
}
