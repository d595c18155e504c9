import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const TSC = fileURLToPath(new URL('../../../node_modules/.bin/tsc', import.meta.url))
const sdk = (module: string) =>
  JSON.stringify(fileURLToPath(import.meta.resolve(`@grafana/grafana-foundation-sdk/${module}`)))

/** The SDK's types as JSON has them: without methods, and with the values of enums in place of their names. */
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
 * What a strict decoder would refuse in dashboards as they are stored, by their names: members that Grafana does not know, of a dashboard, its
 * panels, their options and their queries, and values of a wrong type. By the SDK's types: the compiler refuses what a literal has too much.
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

/** The compiler's errors. Throws what it says instead where it can't be run, or stops for something else. */
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
