import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { boards } from './index.ts'
import { strictErrors } from './testing/strict.ts'

const load = async (name: string) =>
  JSON.parse(await readFile(new URL(`../../docs/dashboards/${name}.json`, import.meta.url), 'utf8'))

/** Some seconds, of which the compiler reads the SDK's types for most, on a busy machine. */
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

// biome-ignore lint/suspicious/noExplicitAny: it makes dashboards that are none.
type Broken = any
const graph = (board: Broken) => board.panels.find(({ type }: Broken) => type === 'timeseries')

/** By what the compiler says of it. */
const mistakes: Readonly<Record<string, (board: Broken) => void>> = {
  '"refreshes"\' does not exist': (board) => Object.assign(board, { refreshes: '30s' }),
  '"titel"\' does not exist': (board) => Object.assign(graph(board), { titel: 'x' }),
  '"mode"\' does not exist': (board) => Object.assign(graph(board).options.legend, { mode: 'list' }),
  '"units"\' does not exist': (board) => Object.assign(graph(board).fieldConfig.defaults, { units: 's' }),
  '"softMin"\' does not exist': (board) => Object.assign(graph(board).fieldConfig.defaults.custom, { softMin: 0 }),
  '"query"\' does not exist': (board) => Object.assign(graph(board).targets[0], { query: 'up' }),
  "Property 'expr' is missing": (board) => delete graph(board).targets[0].expr,
  "not assignable to type 'number'": (board) => Object.assign(graph(board).gridPos, { w: '8' }),
  'Type \'"left"\' is not assignable': (board) => Object.assign(graph(board).options.legend, { placement: 'left' }),
  'Type \'"graph"\' is not assignable': (board) => Object.assign(graph(board), { type: 'graph' }),
}

it(
  'what Grafana would pass over in silence is found',
  async () => {
    const broken = await Promise.all(
      Object.entries(mistakes).map(async ([told, breakIt]) => {
        const board = await load('service')
        breakIt(board)
        return [told, board] as const
      }),
    )
    const errors = await strictErrors(Object.fromEntries(broken))
    for (const told of Object.keys(mistakes)) expect(errors[told]).toEqual([expect.stringContaining(told)])
  },
  COMPILE_MS_MAX,
)
