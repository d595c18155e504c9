import { readdir, readFile } from 'node:fs/promises'
import { parseSync, Visitor } from 'oxc-parser'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { allFunctions } from '#testing/functions'
import { boards } from '../dashboards/index.ts'
import { allRules, knownSeries } from '../dashboards/testing/known-series.ts'

// Checks names in the documents that a rename in the code would leave behind: nobody runs a runbook's grep before the night that needs it.

const root = new URL('../../', import.meta.url)
const textOf = (file: string) => readFile(new URL(file, root), 'utf8')

const documents = await Promise.all(
  ['README.md', 'CONTRIBUTING.md', ...(await filesIn('docs', '.md'))].map(async (file) => ({
    file,
    text: await textOf(file),
  })),
)

async function filesIn(folder: string, end: string): Promise<string[]> {
  const files = await readdir(new URL(`${folder}/`, root), { recursive: true })
  return files.filter((file) => file.endsWith(end)).map((file) => `${folder}/${file}`)
}

const found = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name = '']) => name)

it.each(documents)('members of log lines that $file looks for are members that log lines have', async ({ text }) => {
  const known = await logMembers()
  const greps = found(text, /docker compose logs[^\n]*grep ([^\n]*)/g)
  const shown = found(text, /^(\{"level":.*\})$/gm)
  const named = [...greps, ...shown].flatMap((line) => found(line, /"(\w+)":/g))
  named.push(...found(text, /`(\w+)` in the access log/g))
  expect(named.filter((name) => !known.has(name))).toEqual([])
})

it.each(documents)('metrics that $file names are metrics that there are', async ({ text }) => {
  const known = await knownSeries()
  const named = found(text, /\b([a-z]\w*_(?:total|seconds|bytes|ratio|info|up)|slo:\w+)\b/g)
  // A histogram's name does not have the suffixes of its series.
  expect(named.filter((name) => !known(name) && !known(`${name}_count`))).toEqual([])
})

it.each(documents)('alerts that $file names are alerts that there are', async ({ file, text }) => {
  const alerts = (await allRules()).map(({ alert }) => alert)
  const named = file.startsWith('docs/runbooks/') ? found(text, /`([A-Z][a-z]+[A-Z]\w+)`/g) : []
  expect(named.filter((name) => !alerts.includes(name))).toEqual([])
})

it.each(documents)('dashboards and panels that $file names are there', ({ text }) => {
  const named = text
    .replaceAll(/\s+/g, ' ')
    .matchAll(/\b[Dd]ashboard ([A-Z]\w+)(?:[,:] ([A-Z].*?)(?:[.,;:?(]| is | has |$))?/g)
  for (const [whole, name, panel = ''] of named) {
    const titles = boards
      .find(({ title }) => title === name)
      ?.rows.flatMap(({ panels }) => panels.map(({ title }) => title))
    expect(
      titles?.some((title) => title.startsWith(panel) || panel.startsWith(title)),
      whole,
    ).toBe(true)
  }
})

it.each(documents)('containers that $file gives orders to are in docker-compose.yml', async ({ text }) => {
  const services = await composeServices()
  const orders = text.matchAll(/docker compose (exec|run|ps|logs|up|start|stop|restart|kill)\b([^`|>&;()#\n]*)/g)
  const named = [...orders].flatMap(([, order, words = '']) => {
    const names =
      words.replaceAll(/ (?:--since|--tail|--entrypoint|-e|-s) \S+/g, '').match(/(?<= )(?:[a-z][\w-]*|"\S+)/g) ?? []
    // Words after the first name are for the container.
    return order === 'exec' || order === 'run' ? names.slice(0, 1) : names
  })
  const isVariable = (name: string) => name.startsWith('"')
  expect(named.filter((name) => !isVariable(name) && !services.has(name))).toEqual([])
})

it.each(documents)('scripts and routes that $file names are there', async ({ file, text }) => {
  const { scripts } = JSON.parse(await textOf('package.json'))
  expect(found(text, /\bnpm run (?:-\S+ )*([\w:]+)/g).filter((name) => !(name in scripts))).toEqual([])
  const routes = (await allFunctions()).flatMap(({ trigger }) =>
    trigger.kind === 'http' ? [`${trigger.method} ${trigger.path}`] : [],
  )
  // `ask` is a shell function of the runbooks.
  const asked = file.startsWith('docs/runbooks/') ? found(text, /(?:^|`|; )ask ([a-z][a-z/-]*)/gm) : []
  const named = [
    ...asked.map((path) => `GET /v1/${path}`),
    ...found(text, /\b((?:GET|POST|PUT|PATCH|DELETE) \/v1\/[\w/{}-]+)/g),
  ]
  expect(named.filter((route) => !routes.includes(route))).toEqual([])
})

async function composeServices(): Promise<Set<string>> {
  const files = ['docker-compose.yml', 'infra/docker/backup/compose.yml']
  const parsed = await Promise.all(
    files.map(async (file) => parse(await textOf(file), { merge: true, maxAliasCount: -1 })),
  )
  return new Set(parsed.flatMap(({ services }) => Object.keys(services)))
}

const LOGS = /^(?:logger\(\)(?:\.\w+|\[.*\])|securityEvent|countSecurityEvent)$/s
let members: Promise<Set<string>> | undefined

/** The members of access lines, which are built by hand, and the members that any call passes to the logger. */
function logMembers(): Promise<Set<string>> {
  members ??= findMembers()
  return members
}

async function findMembers(): Promise<Set<string>> {
  const names = new Set([
    'level',
    'time',
    'msg',
    ...found(await textOf('shared/function/host/access-log.ts'), /"(\w+)":/g),
  ])
  for (const file of (await Promise.all(['shared', 'infra', 'functions'].map((each) => filesIn(each, '.ts')))).flat()) {
    if (file.endsWith('.test.ts')) continue
    const source = await textOf(file)
    if (!/logger\(\)|ecurityEvent\(/.test(source)) continue
    new Visitor({
      CallExpression({ callee, arguments: given }) {
        if (!LOGS.test(source.slice(callee.start, callee.end))) return
        for (const argument of given) {
          if (argument.type !== 'ObjectExpression') continue
          for (const property of argument.properties)
            if (property.type === 'Property' && property.key.type === 'Identifier') names.add(property.key.name)
        }
      },
    }).visit(parseSync(file, source).program)
  }
  return names
}
