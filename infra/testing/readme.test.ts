import { access, readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import type { FunctionDefinition } from '#function'
import { readInvocation } from '../local/invocation.ts'
import { loadFunctions } from '../local/load-functions.ts'

const root = new URL('../../', import.meta.url)

const triggerOf = ({ trigger }: FunctionDefinition): string => {
  switch (trigger.kind) {
    case 'http':
      return `\`${trigger.method} ${trigger.path}\``
    case 'schedule':
      return `every ${trigger.everyMs / 1000} s`
    case 'stream':
      return `topic ${trigger.topics.map((topic) => `\`${topic}\``).join(', ')}`
    case 'queue':
      return `queue \`${trigger.queue}\``
    case 'outbox':
      return 'the outbox'
  }
}

it('the README lists every function, with its trigger, scope and summary', async () => {
  const readme = await readFile(new URL('README.md', root), 'utf8')
  const rows = (await loadFunctions()).map(
    (definition) =>
      `| ${definition.name} | ${triggerOf(definition)} | ${definition.scope ?? ''} | ${definition.summary} |`,
  )
  const table = ['| function | trigger | scope | what it does |', '|---|---|---|---|', ...rows].join('\n')
  const [, found] = /readme\.test\.ts -->\n([\s\S]*?)\n\n/.exec(readme) ?? []
  expect(found).toBe(table)
})

it('every function has an event.json that npm run invoke can send, and a test', async () => {
  for (const name of await readdir(new URL('functions/', root))) {
    await readInvocation(new URL(`functions/${name}/event.json`, root))
    await access(new URL(`functions/${name}/index.test.ts`, root))
  }
})

const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...(await filesIn('docs')).filter((file) => file.endsWith('.md')),
]

it.each(documents)('every link of %s to a file leads somewhere', async (document) => {
  const url = new URL(document, root)
  const text = await readFile(url, 'utf8')
  for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) await access(new URL(target, url))
})

it.each(documents)('every file and folder of the project that %s names is there', async (document) => {
  const text = await readFile(new URL(document, root), 'utf8')
  const named = [...text.matchAll(/`([\w./-]+)`/g)].map(([, name = '']) => name)
  const paths = named.filter((name) => /^(shared|functions|infra|e2e|docs)\/|\.(ts|sql|sh)$/.test(name))
  const files = (await Promise.all(['shared', 'functions', 'infra', 'e2e', 'docs'].map(filesIn))).flat()
  const isThere = (name: string) =>
    files.some((file) => `/${file}`.endsWith(`/${name}`) || file.startsWith(`${name.replace(/\/$/, '')}/`))
  expect(paths.filter((name) => !isThere(name))).toEqual([])
})

it('the index of the decisions has each of them', async () => {
  const index = await readFile(new URL('docs/decisions/README.md', root), 'utf8')
  const listed = [...index.matchAll(/^\| \[(\d+)\]\((\S+)\) \|/gm)].map(([, number, file]) => [Number(number), file])
  const files = (await readdir(new URL('docs/decisions/', root))).filter((file) => /^\d/.test(file)).sort()
  expect(listed).toEqual(files.map((file) => [Number(file.slice(0, 4)), file]))
})

/** Returns paths from the root of the project. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(new URL(`${folder}/`, root), { recursive: true, withFileTypes: true })
  return entries.flatMap((entry) =>
    entry.isFile() ? [relative(fileURLToPath(root), join(entry.parentPath, entry.name)).replaceAll(sep, '/')] : [],
  )
}
