import { expect, it } from 'vitest'
import '#testing'
import { ServiceError } from '#errors'
import { primary } from '../connections/connections.ts'
import { failureReason, levelOf, refusedInput } from './failures.ts'

const failureOf = async (statement: string): Promise<unknown> =>
  primary()
    .unsafe(statement)
    .then(
      () => expect.fail('it did not fail'),
      (error: unknown) => error,
    )

it.each([
  ['too large a number', `select 3000000000::int`, 'a number is too large'],
  ['a byte that no text has', `select convert_from('\\xff', 'UTF8')`, 'a text has a character that is not allowed'],
  ['a date that is none', `select '2001-02-30'::date`, 'a time is too early or too late'],
  ['a value of another form', `select 'x'::uuid`, 'a value has the wrong form'],
  ['anything else', `select 1 / 0`, 'a value is unfit'],
])('a client is told of %s in our words, without any of PostgreSQL’s', async (_, statement, told) => {
  const refusal = refusedInput(await failureOf(statement))
  expect(refusal).toMatchObject({ code: 'validation_failed', detail: `The input can't be stored: ${told}.` })
})

it('whoever asks whether the service is ready learns of no role, database or address', async () => {
  const reason = failureReason(await failureOf('set role nobody_of_this_name'))
  expect(reason).toBe('refuses with SQLSTATE 22023')
  const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:5432'), { code: 'ECONNREFUSED' })
  expect(failureReason(refused)).toBe('does not answer: ECONNREFUSED')
})

it('a failure that is tried again is a fault of ours only where the database is there and idle', async () => {
  expect(levelOf(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))).toBe('warn')
  expect(levelOf(new ServiceError('busy', 'Later.'))).toBe('warn')
  expect(levelOf(await failureOf('select 1 / 0'))).toBe('error')
  expect(levelOf(new TypeError('a defect'))).toBe('error')
})
