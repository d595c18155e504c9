import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { boards } from './index.ts'
import { strictErrors } from './testing/strict.ts'

const load = async (name: string) =>
  JSON.parse(await readFile(new URL(`../../docs/dashboards/${name}.json`, import.meta.url), 'utf8'))

/** It takes some seconds, on a busy machine more. For most of them, the compiler reads the SDK's types. */
const COMPILE_MS_MAX = 60_000

it(
  'no dashboard in docs/dashboards has anything that Grafana does not know',
  async () => {
    const dashboards = await Promise.all(boards.map(async ({ name }) => [name, await load(name)]))
    expect(await strictErrors(Object.fromEntries(dashboards))).toEqual(
      Object.fromEntries(boards.map(({ name }) => [name, []])),
    )
  },
  COMPILE_MS_MAX,
)

/** Wrong values by the compiler's message: a member of a dashboard or of its first graph, and its new value. Undefined removes the member. */
const mistakes: Readonly<Record<string, [member: string, value: unknown]>> = {
  '"refreshes"\' does not exist': ['refreshes', '30s'],
  '"titel"\' does not exist': ['graph.titel', 'x'],
  '"mode"\' does not exist': ['graph.options.legend.mode', 'list'],
  '"units"\' does not exist': ['graph.fieldConfig.defaults.units', 's'],
  '"softMin"\' does not exist': ['graph.fieldConfig.defaults.custom.softMin', 0],
  '"query"\' does not exist': ['graph.targets.0.query', 'up'],
  "Property 'expr' is missing": ['graph.targets.0.expr', undefined],
  "not assignable to type 'number'": ['graph.gridPos.w', '8'],
  'Type \'"left"\' is not assignable': ['graph.options.legend.placement', 'left'],
  'Type \'"graph"\' is not assignable': ['graph.type', 'graph'],
}

async function brokenBoard(member: string, value: unknown): Promise<{ panels: Array<{ type: string }> }> {
  const board: { panels: Array<{ type: string }> } = await load('service')
  const graph = board.panels.findIndex(({ type }) => type === 'timeseries')
  const path = member.replace(/^graph/, `panels.${graph}`).split('.')
  const last = path.pop() ?? ''
  const target = path.reduce<object>((inside, name) => Reflect.get(inside, name), board)
  if (value === undefined) Reflect.deleteProperty(target, last)
  else Reflect.set(target, last, value)
  return board
}

it(
  'what Grafana would pass over in silence is found',
  async () => {
    const broken = await Promise.all(
      Object.entries(mistakes).map(async ([told, mistake]) => [told, await brokenBoard(...mistake)] as const),
    )
    const errors = await strictErrors(Object.fromEntries(broken))
    for (const told of Object.keys(mistakes)) expect(errors[told]).toEqual([expect.stringContaining(told)])
  },
  COMPILE_MS_MAX,
)
