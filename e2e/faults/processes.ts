import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { bundleOf } from '#testing/builds'

/** A process under test: its log lines, and its end. */
export interface Started {
  process: ChildProcess
  /** Every line it has written so far. */
  lines: string[]
  /** Resolves with the first result of `find`, for past or future lines. Rejects if the process ends before that. */
  line: <Found>(find: (line: string) => Found | undefined) => Promise<Found>
  exit: Promise<number | null>
}

/** Starts `node file` with only the given environment. */
export function startNode(file: string, environment: Record<string, string>): Started {
  const child = spawn(process.execPath, [file], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  // Waits for all of its lines, some of which may come after the process has ended.
  const exit = once(child, 'close').then(([code]) => code as number | null)
  const listeners = new Set<(line: string) => void>()
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (text) => {
      lines.push(text)
      for (const listener of listeners) listener(text)
    })
  }
  const line: Started['line'] = (find) =>
    new Promise((resolve, reject) => {
      const listener = (text: string) => {
        const found = find(text)
        if (found !== undefined) resolve(found)
      }
      for (const text of lines) listener(text)
      listeners.add(listener)
      void exit.then((code) => reject(new Error(`${file} ended with ${code}:\n${lines.join('\n')}`)))
    })
  return { process: child, lines, line, exit }
}

/** Bundles a source file and starts it. */
export async function startFixture(file: URL, environment: Record<string, string>): Promise<Started> {
  return startNode(await bundleOf(file), environment)
}

/** The URL that a function's or the router's process logs once it listens. */
export function listeningUrl(started: Started): Promise<string> {
  return started.line((text) => /"url":"([^"]+)"/.exec(text)?.[1])
}
