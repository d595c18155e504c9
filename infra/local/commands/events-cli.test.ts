import { beforeEach, expect, test } from 'vitest'
import { deadEvent, expectNoEffect, sql } from '#testing'
import { runCommand, runScript } from '../testing/run-command.ts'

beforeEach(async () => {
  await sql`truncate dead_events`
})

const events = (...args: string[]) => runCommand('events-cli', ...args)

const UNKNOWN = '01890a5d-ac96-774b-bcce-b302099a8057'

test('dead events are listed with who refused them and why, and are so no more once they are redriven', async () => {
  expect(await events('dead')).toBe('none\n')
  const { id, eventId } = await deadEvent()
  const refused = await deadEvent({ group: 'publish-events', error: 'MESSAGE_TOO_LARGE' })
  const described = `stock-events: stock.adjusted 1 of product ${UNKNOWN}, 1 attempt, died \\S+`
  expect(await events('dead')).toMatch(
    new RegExp(
      `^${refused.id}  the log, ${described}\n  MESSAGE_TOO_LARGE\n` +
        `${id}  detect-low-stock, ${described}\n  validation_failed: nonsense\n$`,
    ),
  )
  expect(await events('dead', '--group', 'detect-low-stock', '--topic', 'product-events')).toBe('none\n')
  expect(JSON.parse(await events('show', id))).toMatchObject({
    id,
    eventId,
    dueAt: null,
    data: { productId: UNKNOWN, version: 1 },
  })
  expect(await events('redrive', id)).toBe('1 redriven\n')
  expect(JSON.parse(await events('show', id))).toMatchObject({ id, dueAt: expect.stringMatching(/Z$/) })
  expect(await events('dead', '--group', 'detect-low-stock')).toBe('none\n1 redriven and not handled yet\n')
})

test('all are redriven when that is asked for', async () => {
  await deadEvent()
  await deadEvent()
  expect(await events('redrive', '--all')).toBe('2 redriven\n')
  expect(await runScript('events', 'redrive', '--all')).toBe('0 redriven\n')
})

test('the usage is shown', async () => {
  expect(await events('--help')).toContain('npm run events -- redrive ID... | --all')
})

test.each([
  [['redrive'], 'Say which'],
  [['redrive', '--all', UNKNOWN], 'Say which'],
  [['redrive', 'x'], 'The ids of dead events look like'],
  [['show'], 'Say which'],
  [['show', UNKNOWN], 'There is no dead event'],
  [['show', 'x'], 'The id of a dead event looks like'],
  [['dead', '--limit', '0'], '--limit must be'],
  [['dead', '--group', 'x'.repeat(201)], '--group and --topic have'],
  [['bury'], "There is no command 'bury'"],
  [['dead', '--colour'], "Unknown option '--colour'"],
])('%j is refused with a line that says what to do, and changes nothing', async (args, reason) => {
  await deadEvent()
  const told = await expectNoEffect(() => events(...args))
  expect(told).toContain(`failed: `)
  expect(told).toContain(reason)
  expect(told).not.toContain('    at ')
})
