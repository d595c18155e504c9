import { accessSync, constants, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = `${root}.github/workflows/`
const files = readdirSync(folder)

const Workflow = z.looseObject({
  permissions: z.strictObject({ contents: z.literal('read') }),
  jobs: z.record(
    z.string(),
    z.looseObject({
      'timeout-minutes': z.int().max(60),
      steps: z.array(z.looseObject({ uses: z.string().optional(), run: z.string().optional() })),
    }),
  ),
})

const workflows = files.map((file) => Workflow.parse(parse(readFileSync(folder + file, 'utf8'))))
const steps = workflows.flatMap(({ jobs }) => Object.values(jobs).flatMap((job) => job.steps))
const scripts = steps.flatMap(({ run = [] }) => run)

it('runs nothing in a workflow but scripts of this repository, which anyone can run', () => {
  expect(scripts.length).toBeGreaterThan(0)
  for (const script of scripts) {
    const [, name] = /^\.ci\/([a-z-]+)( "\$\{?GITHUB_REF_NAME(#v)?\}?")?$/.exec(script) ?? []
    expect(name, script).toBeDefined()
    accessSync(`${root}.ci/${name}`, constants.X_OK)
  }
  const used = [...scripts, ...readdirSync(`${root}.ci`).map((name) => readFileSync(`${root}.ci/${name}`, 'utf8'))]
  for (const name of readdirSync(`${root}.ci`)) {
    const others = used.filter((text) => text.includes(`.ci/${name}`))
    expect(others.length, `${name} is used`).toBeGreaterThan(0)
  }
})

it('names every action by a commit, and says which version that is', () => {
  const lines = files.flatMap((file) => readFileSync(folder + file, 'utf8').match(/uses: .*/g) ?? [])
  expect(lines.length).toBe(steps.filter(({ uses }) => uses !== undefined).length)
  const pinned = /^uses: [\w-]+\/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/
  // The workflow says why.
  const byTag = /^uses: github\/codeql-action\/\w+@v\d+$/
  expect(lines.filter((line) => !pinned.test(line) && !byTag.test(line))).toEqual([])
})
