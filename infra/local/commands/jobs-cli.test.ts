import { userInfo } from 'node:os'
import { beforeEach, expect, test } from 'vitest'
import { deadJob, expectNoEffect, sql } from '#testing'
import { runCommand, runScript } from '../testing/run-command.ts'

beforeEach(async () => {
  await sql`truncate jobs cascade`
})

const jobs = (...args: string[]) => runCommand('jobs-cli', ...args)

const letterOf = async (jobId: string) =>
  (await sql<Array<{ id: string }>>`select id from dead_letters where job_id = ${jobId}`)[0]?.id ?? ''

test('dead jobs are listed with why they died, and are so no more once they are redriven', async () => {
  expect(await jobs('dead')).toBe('none\n')
  const id = await deadJob('validation_failed: nonsense')
  const letter = await letterOf(id)
  expect(await jobs('dead')).toMatch(
    new RegExp(`^${letter}  job ${id}  export-stock, 1 attempt, died \\S+\n  validation_failed: nonsense\n$`),
  )
  expect(JSON.parse(await jobs('show', id))).toMatchObject({ id, state: 'dead', error: 'validation_failed: nonsense' })
  expect(await jobs('redrive', letter)).toBe('1 redriven\n')
  expect(await jobs('dead')).toBe('none\n')
  expect(JSON.parse(await jobs('show', id))).toMatchObject({ id, state: 'queued', attempts: 0 })
  const [kept] = await sql`select redriven_by from dead_letters`
  expect(kept).toEqual({ redriven_by: `operator:${userInfo().username}` })
})

test('all are redriven when that is asked for', async () => {
  await deadJob()
  await deadJob()
  expect(await jobs('redrive', '--all')).toBe('2 redriven\n')
  expect(await runScript('jobs', 'redrive', '--all')).toBe('0 redriven\n')
})

const UNKNOWN = '01890a5d-ac96-774b-bcce-b302099a8057'

test.each([
  [['redrive'], 'Say which'],
  [['redrive', '--all', UNKNOWN], 'Say which'],
  [['redrive', 'x'], 'The ids of dead letters look like'],
  [['show'], 'Say which'],
  [['show', UNKNOWN], 'There is no job'],
  [['show', 'x'], 'The id of a job looks like'],
  [['dead', '--limit', '0'], '--limit must be'],
  [['bury'], "There is no command 'bury'"],
])('%j is refused with a line that says what to do, and changes nothing', async (args, reason) => {
  await deadJob()
  const told = await expectNoEffect(() => jobs(...args))
  expect(told).toContain(`failed: `)
  expect(told).toContain(reason)
  expect(told).not.toContain('    at ')
})
