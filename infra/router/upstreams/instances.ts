import { setMaxListeners } from 'node:events'
import * as z from 'zod'
import { type Health, Instance } from '#function/instance'
import { STATUS_PATH } from '#function/status-path'
import type { Amend } from '../proxy/proxy.ts'
import type { Origin, Upstream } from './origin.ts'
import type { Rotation, Upstreams } from './upstreams.ts'

/** The time limit for the status requests of one list, which run in parallel. An instance that has not answered by then is `unknown`. */
const ASK_MS_MAX = 800

/** How long a list waits for a new look-up of a known name. Such a look-up finds new replicas. */
const RENEW_MS_MAX = 200
/** How many look-ups run at the same time. One that no resolver answers holds one of the process's four threads for seconds. */
const LOOKUPS_MAX = 2

/** The list of functions as list-functions answers it. */
const Listed = z.looseObject({ items: z.array(z.looseObject({ name: z.string() })) })

/**
 * Adds the instances to each function of a list: one for each address of its upstream, with the status that it reports. All instances are
 * asked in parallel, on a connection each; a name has 64 addresses at most. Lists that are made at the same time share the answers.
 * Throws an error for a URL that is not an origin.
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

/** Looks names up, two at a time. The wait ends when `signal` aborts, or sooner if there is an earlier result. The look-up itself goes on. */
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

/** Returns the status that an instance of a function reports. A process that serves another function counts as unavailable. */
async function ask(name: string, url: string, upstream: Upstream | undefined, signal: AbortSignal): Promise<Instance> {
  const client = upstream?.connectAlone()
  try {
    const answer = await client?.request({ method: 'GET', path: STATUS_PATH, headers: { function: name }, signal })
    const said = answer?.statusCode === 200 ? Instance.safeParse(await answer.body.json()) : undefined
    if (said?.success) return { ...said.data, url }
  } catch {
    // The status below says that the instance did not answer.
  } finally {
    void client?.destroy()
  }
  return silent(url, signal.aborted ? 'unknown' : 'unavailable')
}

function silent(url: string, health: Health): Instance {
  return { url, health, inFlight: 0, requests: 0, errors: 0, p50Ms: null, p99Ms: null, startedAt: null, version: null }
}
