import { access, readdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import type { FunctionDefinition } from '#function'
import { loadFunctions } from '../local/functions.ts'
import { readInvocation } from '../local/invocation.ts'

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

it('every link of the documents to a file of the repository leads somewhere', async () => {
  for (const file of ['README.md', 'CONTRIBUTING.md', 'docs/architecture.md', 'docs/security.md']) {
    const url = new URL(file, root)
    const text = await readFile(url, 'utf8')
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)) await access(new URL(target, url))
  }
})
