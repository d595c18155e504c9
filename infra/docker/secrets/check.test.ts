import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const script = fileURLToPath(new URL('check.sh', import.meta.url))
const names = [
  'POSTGRES_PASSWORD',
  'DATABASE_OWNER_PASSWORD',
  'DATABASE_PASSWORD',
  'DATABASE_KEYS_PASSWORD',
  'DATABASE_MONITOR_PASSWORD',
  'REPLICATION_PASSWORD',
  'REDIS_PASSWORD',
  'RABBITMQ_PASSWORD',
  'BOOTSTRAP_API_KEY',
]
const good = Object.fromEntries(names.map((name) => [name, '3f9c2d70b1e84a6d9c55']))

async function check(secrets: Record<string, string>): Promise<string[]> {
  const { PATH } = process.env
  const failure = await promisify(execFile)('bash', [script], { env: { PATH, ...secrets } }).then(
    () => ({ stderr: '' }),
    (error: Error & { stderr: string }) => error,
  )
  return failure.stderr.split('\n').filter((line) => line !== '')
}

it('takes secrets of one’s own', async () => {
  expect(await check(good)).toEqual([])
})

it.each(names)('names %s where it is missing, too short, too well known, or unfit for a URL', async (name) => {
  for (const secret of ['', 'dev-admin-key', 'change-me-change-me', 'not/in:a@url-as-it-is']) {
    expect(await check({ ...good, [name]: secret }), secret).toEqual([
      expect.stringContaining(`${name} in .env must be`),
    ])
  }
})

it('names every one of them at once', async () => {
  expect(await check({})).toHaveLength(names.length)
})
