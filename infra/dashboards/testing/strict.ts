import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const TSC = fileURLToPath(new URL('../../../node_modules/.bin/tsc', import.meta.url))
const sdk = (module: string) =>
  JSON.stringify(fileURLToPath(import.meta.resolve(`@grafana/grafana-foundation-sdk/${module}`)))

/** The SDK's types for JSON: without methods, and with the values of enums instead of their names. */
const TYPES = `
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel } from ${sdk('dashboard')}
import type { Dataquery } from ${sdk('prometheus')}
import type { FieldConfig as Custom, Options } from ${sdk('timeseries')}
type Json<T> = 0 extends 1 & T ? any
  : T extends string ? \`\${T}\`
  : T extends readonly (infer Item)[] ? Json<Item>[]
  : T extends object ? { [Key in keyof T as T[Key] extends (...args: never[]) => unknown ? never : Key]: Json<T[Key]> }
  : T
`

type Fields = Record<string, unknown>

/**
 * Returns the errors that a strict decoder would find in stored dashboards, by the dashboards' names: unknown members of a dashboard, its panels,
 * their options and their queries, and values of a wrong type. Uses the SDK's types: the compiler refuses a literal's excess members.
 */
export async function strictErrors(dashboards: Readonly<Record<string, object>>): Promise<Record<string, string[]>> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-dashboards-'))
  try {
    const names = Object.keys(dashboards)
    const fileOf = (name: string) => `${names.indexOf(name)}.ts`
    for (const [name, dashboard] of Object.entries(dashboards))
      await writeFile(join(folder, fileOf(name)), [TYPES, ...literals(dashboard), 'export {}'].join('\n'))
    const lines = await compile(folder, names.map(fileOf))
    const errorsOf = (name: string) => lines.filter((line) => line.startsWith(`${fileOf(name)}(`))
    return Object.fromEntries(names.map((name) => [name, errorsOf(name)]))
  } finally {
    await rm(folder, { recursive: true })
  }
}

function literals(dashboard: object): string[] {
  const { panels = [], ...rest } = dashboard as { panels?: Fields[] }
  const values = [["Omit<Dashboard, 'panels'>", rest] as const, ...panels.flatMap(ofPanel)]
  return values.map(([type, value], index) => `const _${index}: Json<${type}> = ${JSON.stringify(value)}`)
}

function ofPanel(panel: Fields): Array<readonly [type: string, value: unknown]> {
  if (panel.type === 'row') return [['RowPanel', panel]]
  const { type, options, fieldConfig, targets, ...rest } = panel
  const { defaults, ...others } = fieldConfig as { defaults: Fields }
  const { custom, ...common } = defaults
  return [
    ["'row' | 'timeseries'", type],
    ["Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'>", rest],
    ['Options', options],
    ["Omit<FieldConfigSource, 'defaults'>", others],
    ["Omit<FieldConfig, 'custom'>", common],
    ['Custom', custom],
    ...(targets as Fields[]).map((target) => ['Dataquery', target] as const),
  ]
}

/** Returns the compiler's errors. Throws its output if it can't be run, or if it stops for another reason. */
async function compile(folder: string, files: string[]): Promise<string[]> {
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--pretty', 'false', '--types', '', '--lib', 'es2023']
  const resolution = ['--module', 'esnext', '--moduleResolution', 'bundler', '--target', 'es2023']
  return new Promise((resolve, reject) => {
    execFile(TSC, [...options, ...resolution, ...files], { cwd: folder }, (error, stdout) => {
      const lines = stdout.split('\n').filter((line) => /^\S/.test(line))
      const isKnown = lines.every((line) => /^\d+\.ts\(\d+,\d+\): error TS/.test(line))
      if (isKnown && (error === null || lines.length > 0)) resolve(lines)
      else reject(error ?? new Error(stdout))
    })
  })
}
