import { setMaxListeners } from 'node:events'
import * as z from 'zod'
import { type Health, Instance } from '#function/instance'
import { STATUS_PATH } from '#function/status-path'
import type { Amend } from '../proxy/proxy.ts'
import type { Origin, Upstream } from './origin.ts'
import type { Rotation, Upstreams } from './upstreams.ts'

/** How long all instances together may take to say how they do: one that has not by then is `unknown`. */
const ASK_MS_MAX = 800

/** How long a name that was looked up before is looked up anew: new replicas are to be there. */
const RENEW_MS_MAX = 200
/** Names that are looked up at a time. One that nothing resolves has one of the process's four threads for seconds. */
const LOOKUPS_MAX = 2

/** The list of functions as list-functions answers it. */
const Listed = z.looseObject({ items: z.array(z.looseObject({ name: z.string() })) })

/**
 * Adds to a list of functions the instances of each: one for each address of its upstream, with what it says of itself. All are asked
 * at once, on a connection each: a name has 64 addresses at most. Lists that are made at the same time share the question. Throws an
 * error for a URL that is no origin.
 */
export function instanceAdder(deployment: ReadonlyMap<string, URL[]>, upstreams: Upstreams): Amend {
  const lookUp = createLookUp()
  const rotations = Array.from(deployment, ([name, urls]) => [name, upstreams.rotation(urls)] as const)
  let asking: Promise<Map<string, Instance[]>> | undefined
  return async (body) => {
    const list = Listed.parse(JSON.parse(body.toString()))
    asking ??= askAll(rotations, lookUp).finally(() => {
      asking = undefined
    })
    const instances = await asking
    const items = list.items.map((item) => ({ ...item, instances: instances.get(item.name) ?? [] }))
    return Buffer.from(JSON.stringify({ ...list, items }))
  }
}

type LookUp = (origin: Origin, signal: AbortSignal) => Promise<unknown>

/** Looks names up, few at a time. Gives up waiting, not looking, when `signal` aborts, and sooner where there is an earlier result. */
function createLookUp(): LookUp {
  const lanes = Array.from({ length: LOOKUPS_MAX }, (): Promise<unknown> => Promise.resolve())
  return (origin, signal) => {
    const lane = lanes.shift() ?? Promise.resolve()
    const renewed = lane.then(() => (signal.aborted ? undefined : origin.refresh()))
    lanes.push(renewed)
    const isKnown = origin.upstreams.length > 0 || origin.failure !== undefined
    const limit = isKnown ? AbortSignal.any([signal, AbortSignal.timeout(RENEW_MS_MAX)]) : signal
    return Promise.race([renewed, new Promise((resolve) => limit.addEventListener('abort', resolve, { once: true }))])
  }
}

async function askAll(
  rotations: ReadonlyArray<readonly [string, Rotation]>,
  lookUp: LookUp,
): Promise<Map<string, Instance[]>> {
  const signal = AbortSignal.timeout(ASK_MS_MAX)
  setMaxListeners(0, signal)
  return new Map(
    await Promise.all(
      rotations.map(async ([name, rotation]): Promise<[string, Instance[]]> => {
        const addresses = await rotation.addresses((origin) => lookUp(origin, signal))
        return [name, await Promise.all(addresses.map(({ url, upstream }) => ask(name, url, upstream, signal)))]
      }),
    ),
  )
}

/** What an instance of a function says of itself. A process that serves another function is none. */
async function ask(name: string, url: string, upstream: Upstream | undefined, signal: AbortSignal): Promise<Instance> {
  const client = upstream?.connectAlone()
  try {
    const answer = await client?.request({ method: 'GET', path: STATUS_PATH, headers: { function: name }, signal })
    const said = answer?.statusCode === 200 ? Instance.safeParse(await answer.body.json()) : undefined
    if (said?.success) return { ...said.data, url }
  } catch {
    // That it said nothing is all there is to tell of it.
  } finally {
    void client?.destroy()
  }
  return silent(url, signal.aborted ? 'unknown' : 'unavailable')
}

function silent(url: string, health: Health): Instance {
  return { url, health, inFlight: 0, requests: 0, errors: 0, p50Ms: null, p99Ms: null, startedAt: null, version: null }
}
