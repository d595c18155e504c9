import { readdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { jobStates } from '#jobs/schema'
import { reservationStates } from '#stock/schema'

const root = new URL('../../', import.meta.url)
const text = await readFile(new URL('docs/states.md', root), 'utf8')

const sectionOf = (title: string) => text.split(/^## /m).find((section) => section.startsWith(title)) ?? ''

/** The states of a section's first chart. */
function chartOf(title: string): string[] {
  const [, chart = ''] = /```mermaid\n([\s\S]*?)```/.exec(sectionOf(title)) ?? []
  const states = [...chart.matchAll(/^ +(\S+) --> ([^\s:]+)/gm)].flatMap(([, from = '', to = '']) => [from, to])
  return [...new Set(states)].filter((state) => state !== '[*]').sort()
}

it.each([
  ['Reservation', reservationStates],
  ['Job', jobStates],
])('docs/states.md draws the states of a %s that the code has', (title, states) => {
  expect(chartOf(title)).toEqual([...states].sort())
})

it('docs/states.md names every file that changes the state of a job', async () => {
  const entries = await readdir(new URL('shared/jobs/', root), { recursive: true })
  const files = entries.filter((file) => file.endsWith('.ts') && !/\.test\.ts$|testing\//.test(file))
  for (const file of files) {
    const source = await readFile(new URL(`shared/jobs/${file}`, root), 'utf8')
    const changesState = /\bset state =|state = 'running', attempts|insert into jobs\b/.test(source)
    if (changesState) expect(sectionOf('Job')).toContain(`shared/jobs/${file}`)
  }
})
