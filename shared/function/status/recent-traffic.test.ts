import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createTraffic } from './recent-traffic.ts'

const nothing = { requests: 0, errors: 0, p50Ms: null, p99Ms: null }
const MINUTE = 60_000

describe('recent traffic', () => {
  it('is nothing before the first answer', () => {
    expect(createTraffic().recent(0)).toEqual(nothing)
  })

  it('counts every answer, and those of 5xx as errors', () => {
    const traffic = createTraffic()
    for (const status of [200, 404, 499, 500, 503, 599]) traffic.add(status, 1, 0)
    expect(traffic.recent(0)).toMatchObject({ requests: 6, errors: 3 })
  })

  it('is that of the last five minutes, to ten seconds', () => {
    const traffic = createTraffic()
    for (let at = 0; at < 20 * MINUTE; at += 1_000) traffic.add(500, 1, at)
    expect(traffic.recent(20 * MINUTE - 1)).toMatchObject({ requests: 300, errors: 300 })
    expect(traffic.recent(20 * MINUTE)).toMatchObject({ requests: 290, errors: 290 })
    expect(traffic.recent(24 * MINUTE)).toMatchObject({ requests: 50 })
    expect(traffic.recent(25 * MINUTE)).toEqual(nothing)
    traffic.add(200, 8, 60 * MINUTE)
    expect(traffic.recent(60 * MINUTE)).toMatchObject({ requests: 1, errors: 0 })
  })

  it('has percentiles within 5 % of the nearest rank, whatever the durations', () => {
    const durations = fc.array(fc.double({ min: 0.04, max: 120_000, noNaN: true }), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(durations, (all) => {
        const traffic = createTraffic()
        all.forEach((duration, index) => {
          traffic.add(200, duration, index * 100)
        })
        const sorted = all.toSorted((a, b) => a - b)
        const { p50Ms, p99Ms } = traffic.recent(30_000)
        for (const [told, share] of [
          [p50Ms, 0.5],
          [p99Ms, 0.99],
        ] as const) {
          const exact = sorted[Math.ceil(all.length * share) - 1] ?? 0
          // The value is also rounded to hundredths.
          expect(Math.abs((told ?? 0) - exact)).toBeLessThanOrEqual(exact * 0.05 + 0.005)
        }
      }),
    )
  })

  it('takes durations beyond its bins for its shortest and its longest', () => {
    const traffic = createTraffic()
    for (const duration of [0, 0.001, 0.03]) traffic.add(200, duration, 0)
    expect(traffic.recent(0)).toMatchObject({ requests: 3, p99Ms: 0.03 })
    for (let more = 0; more < 4; more++) traffic.add(200, 1e9, 0)
    expect(traffic.recent(0).p50Ms).toBeGreaterThan(120_000)
  })
})
