import { afterEach, describe, expect, it } from 'vitest'
import { ConfigError, overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { extend, holdLifeMaxSeconds, reserve, setLimit } from '#stock'
import { ReserveRequest } from '#stock/schema'
import { expectConsistent, hold, newProduct } from '#testing'

afterEach(expectConsistent)

const admin = systemContext('api-key:admin')

it('a limit for a holder counts, and shows, what a key may see, where keys own their reservations', async () => {
  const { id: productId } = await newProduct({ initialStock: 100 })
  await setLimit(productId, { perHolder: 3 }, admin)
  const request = ReserveRequest.parse({ lines: [{ productId, quantity: 2 }], holder: 'ann' })
  const one = { ...admin, actor: 'api-key:one', scopes: ['reservations:write' as const], ownsReservations: true }
  await reserve(request, one)
  await reserve(request, { ...one, actor: 'api-key:two' })
  await expect(reserve(request, one)).rejects.toMatchObject({ extra: { limits: [{ held: 2 }] } })
  await expect(reserve(request, admin)).rejects.toMatchObject({ extra: { limits: [{ held: 4 }] } })
})

describe('how long a hold may last', () => {
  const setTo = (seconds: string | undefined) => {
    overrideEnvironment({ RESERVATION_LIFE_MAX_SECONDS: seconds })
  }
  afterEach(() => setTo(undefined))

  it('can be set, bounds a new hold, and an extension', async () => {
    const { id: productId } = await newProduct({ initialStock: 5 })
    setTo('1000')
    expect(holdLifeMaxSeconds()).toBe(1_000)
    const made = await hold([{ productId, quantity: 1 }], { ttlSeconds: 86_400 })
    expect(Date.parse(made.expiresAt) - Date.parse(made.createdAt)).toBe(1_000_000)
    await expect(extend(made.id, { ttlSeconds: 1_001 }, admin)).rejects.toMatchObject({ code: 'hold_limit_reached' })
    expect(await extend(made.id, { ttlSeconds: 900 }, admin)).toMatchObject({ state: 'held' })
  })

  it.each(['0', '4', 'a week', '1.5', '-1'])('is refused where it is %j', (seconds) => {
    setTo(seconds)
    expect(holdLifeMaxSeconds).toThrow(ConfigError)
  })
})
