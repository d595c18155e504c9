import { readdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { sql } from '#testing'

const FOLDER = new URL('../../docs/runbooks/', import.meta.url)

/** Returns each SQL statement of a page. The parts that a reader fills in are in capitals. */
async function statements(): Promise<Array<{ page: string; statement: string }>> {
  const pages = (await readdir(FOLDER)).filter((file) => file !== 'README.md')
  const texts = await Promise.all(
    pages.map(async (page) => ({ page, text: await readFile(new URL(page, FOLDER), 'utf8') })),
  )
  return texts.flatMap(({ page, text }) =>
    [...text.matchAll(/\bsql "([^"…]+)"/g)].map(([, statement = '']) => ({
      page,
      statement: statement.replaceAll(/\b(PID|LEDGER_ON_HAND|HELD)\b/g, '0'),
    })),
  )
}

it.each(await statements())('PostgreSQL accepts what $page asks it: $statement', async ({ statement }) => {
  // Checks every name and type, and runs nothing: some statements end sessions. If a statement can't be prepared, only its syntax is checked.
  const asked = /^(select|update|insert|delete|with)\b/i.test(statement)
    ? `prepare asked as ${statement}; deallocate asked`
    : `create function pg_temp.asked() returns void language sql as $$${statement}$$; drop function pg_temp.asked`
  await expect(sql.unsafe(asked)).resolves.toBeDefined()
})
