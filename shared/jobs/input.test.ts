import { expect, it } from 'vitest'
import { systemContext } from '#database'
import { submitJob } from '#jobs'
import { expectNoEffect, sql } from '#testing'

const submitFile = (actor: string) =>
  submitJob({ type: 'import-products', payload: { format: 'csv' }, input: [new Uint8Array([1])] }, systemContext(actor))

it('the files that wait are a hundred at most, and of one submitter so many that others find room', async () => {
  for (let count = 0; count < 75; count++) await submitFile('api-key:one')
  const refused = { code: 'overloaded', retryAfterSeconds: 30 }
  await expectNoEffect(() => expect(submitFile('api-key:one')).rejects.toMatchObject(refused))
  for (let count = 0; count < 25; count++) await submitFile(`api-key:other-${count}`)
  await expectNoEffect(() => expect(submitFile('api-key:another')).rejects.toMatchObject(refused))
  // A job that is finished, or has died, makes room.
  await sql`update jobs set state = 'dead' where id = (select id from jobs where actor = 'api-key:one' limit 1)`
  await submitFile('api-key:one')
})
