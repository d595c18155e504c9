import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { renderCharts } from './chart.ts'
import { readResults } from './results.ts'
import { renderTables } from './table.ts'

const BEGIN = '<!-- results: made from reservations.json, see below -->'
const END = '<!-- /results -->'

/**
 * Draws the charts of a folder's results beside them, and writes the tables into its README.md if that exists and has the
 * markers. Returns the tables.
 */
export async function publish(folder: string): Promise<string> {
  const results = await readResults(folder)
  for (const [name, svg] of Object.entries(renderCharts(results))) await writeFile(join(folder, name), svg)
  const tables = renderTables(results)
  const file = join(folder, 'README.md')
  const text = await readFile(file, 'utf8').catch(() => '')
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin >= 0 && end > begin) {
    await writeFile(file, `${text.slice(0, begin + BEGIN.length)}\n${tables}\n${text.slice(end)}`)
  }
  return tables
}
