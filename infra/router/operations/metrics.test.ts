import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { expect, test, vi } from 'vitest'
import { metric } from '#testing/metrics'
import { ask, refusingOrigin, signal } from '../testing/fixtures.ts'
import { rawUpstream, routerTo, upstreamWith } from '../testing/proxy-fixtures.ts'

/** The number of answers of the route that `routerTo` makes, and of paths that do not exist. */
const answers = (status: number, name = 'thing') =>
  metric(`router_duration_seconds_count{function="${name}",status="${status}"}`)

/** Does `work`, waits until the number that `read` returns has grown, and returns by how much. */
async function growth(read: () => Promise<number>, work: () => Promise<unknown>): Promise<number> {
  const before = await read()
  await work()
  return vi.waitFor(async () => {
    const grown = (await read()) - before
    expect(grown).not.toBe(0)
    return grown
  })
}

test('every answer is counted once, by its function and status; one for no function as none', async () => {
  const { origin } = await upstreamWith((_, res) => res.writeHead(409).end('{}'))
  const { url } = await routerTo([origin])
  expect(
    await growth(
      () => answers(409),
      () => ask(url, '/thing'),
    ),
  ).toBe(1)
  expect(
    await growth(
      () => answers(404, 'none'),
      () => ask(url, `/${randomBytes(8).toString('hex')}`),
    ),
  ).toBe(1)
})

test('a client that leaves before its answer counts as 499, and an answer that breaks off as 502', async () => {
  const { origin, arrived } = await silentUpstream()
  const { url } = await routerTo([origin])
  const leave = async () => {
    const outgoing = request(`${url}/thing`).on('error', () => {})
    outgoing.end()
    await arrived
    expect(await metric('router_in_flight')).toBeGreaterThan(0)
    expect(await metric(`router_upstream_in_flight{upstream="${origin.origin}"}`)).toBe(1)
    outgoing.destroy()
  }
  expect(await growth(() => answers(499), leave)).toBe(1)

  const broken = await rawUpstream((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf'))
  const cut = await routerTo([broken.origin])
  const breakOff = () => expect(ask(cut.url, '/thing')).rejects.toThrow()
  expect(await growth(() => answers(502), breakOff)).toBe(1)
})

test('a second try is counted, and an address that refuses is told from one that is well', async () => {
  const [refusing, { origin }] = [await refusingOrigin(), await upstreamWith((_, res) => res.end())]
  const { url } = await routerTo([refusing, origin])
  const both = () => Promise.all([ask(url, '/thing'), ask(url, '/thing')])
  expect(await growth(() => metric('router_repeats_total{function="thing"}'), both)).toBe(1)
  expect(await metric(`router_upstream_addresses{upstream="${refusing.origin}",state="skipped"}`)).toBe(1)
  expect(await metric(`router_upstream_addresses{upstream="${origin.origin}",state="well"}`)).toBe(1)
})

/** An upstream that takes requests and does not answer. */
async function silentUpstream() {
  const arrived = signal()
  const { origin } = await upstreamWith(() => arrived.resolve())
  return { origin, arrived: arrived.promise }
}
