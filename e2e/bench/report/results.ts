import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Options, Part } from '../options.ts'
import type { SellOut, Series } from './measurement.ts'

export interface Machine {
  cores: number
  model: string
  memoryGiB: number
  system: string
  node: string
  postgresql: string
  /** The program that ran one transaction per request without HTTP: pgbench's version, or the driver if pgbench is not installed. */
  transactions?: string
}

/** The raw numbers of one part, and the machine and settings of the measurement. */
export interface Section {
  measuredAt: string
  machine: Machine
  settings: Pick<Options, 'rounds' | 'seconds' | 'warmSeconds' | 'connections' | 'products' | 'largeProducts'>
  series: Series[]
  sellOuts?: Record<string, SellOut[]>
  note: string
}

/** The time of a start in milliseconds, by contender. */
export interface StartSection {
  measuredAt: string
  machine: Omit<Machine, 'postgresql'>
  millisecondsTo: Record<string, number[]>
}

export type Results = { start?: StartSection } & Partial<Record<Exclude<Part, 'start'>, Section>>

const FILE = 'reservations.json'

export async function readResults(folder: string): Promise<Results> {
  try {
    return JSON.parse(await readFile(join(folder, FILE), 'utf8')) as Results
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
}

/** Replaces the given parts, and leaves the others as they were. */
export async function writeResults(folder: string, parts: Results): Promise<void> {
  await mkdir(folder, { recursive: true })
  const results = { ...(await readResults(folder)), ...parts }
  // Puts numbers on one line, as the project's formatter expects.
  const text = JSON.stringify(results, round, 2).replace(/\[[\d.,\s]+\]/g, (list) => list.replace(/\s+/g, ' '))
  await writeFile(join(folder, FILE), `${text.replace(/\[ ([\d., ]+) \]/g, '[$1]')}\n`)
}

/** Rounds to thousandths, which are less than the noise of any measurement. */
function round(_: string, value: unknown): unknown {
  return typeof value === 'number' ? Math.round(value * 1_000) / 1_000 : value
}

export function describeMachine(): Omit<Machine, 'postgresql'> {
  const [cpu] = cpus()
  return {
    cores: cpus().length,
    model: cpu?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
    node: process.version,
  }
}
