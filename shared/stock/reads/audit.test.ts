import { expect, it } from 'vitest'
import { systemContext } from '#database'
import { auditFor } from '#stock'
import { newProduct } from '#testing'

it('an audit does not go on for a client that has gone', async () => {
  await newProduct()
  const audit = auditFor({ ...systemContext('test'), isGone: () => true })
  await expect(audit).rejects.toMatchObject({ code: 'client_closed_request' })
})
