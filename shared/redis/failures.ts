import { logger } from '#telemetry'

/** A reason that stays is said again so often: who looks for it finds it, and it fills no log. */
const SAY_AGAIN_MS = 60_000
/** Of replies that nobody has heard of, so many kinds; more say no more. */
const KINDS_MAX = 20

/** What to do about a failure, by the kind that the server or the connection gives it. */
const ADVICE: Record<string, string> = {
  WRONGPASS: 'Redis refuses the user and password of CACHE_URL',
  NOAUTH: 'Redis asks for a password: CACHE_URL has none (redis://user:password@host:port)',
  NOPERM: 'the user of CACHE_URL may not do in Redis what the cache needs',
  READONLY: 'CACHE_URL leads to a Redis that has become a replica: connecting again',
  MASTERDOWN: 'CACHE_URL leads to a Redis that has become a replica: connecting again',
  OOM: 'Redis is full: give it more memory, or the maxmemory-policy volatile-ttl',
  MISCONF: 'Redis can not save its data, and takes no changes: mend that, or turn saving off',
  ...forEach(
    ['MOVED', 'ASK', 'CROSSSLOT', 'CLUSTERDOWN'],
    'CACHE_URL leads to a node of a Redis Cluster, which is not supported: name a Redis that is none',
  ),
  ...forEach(
    [
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ],
    'the certificate of Redis is by nobody that is trusted: name the file of its authority in NODE_EXTRA_CA_CERTS',
  ),
}

/** `WRONGPASS`, `ECONNREFUSED`; a script's failure has the kind within its text, before Redis 7. */
export function kindOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  return code ?? /(?:^|-)([A-Z]{3,}) /.exec(error.message)?.[1] ?? error.name
}

/** What the server says is about itself as it is now: another connection by the same name may lead to the primary. */
export const isOfReplica = (error: Error) => ['READONLY', 'MASTERDOWN'].includes(kindOf(error))

/** Logs why Redis fails, each kind of reason at once and then once a minute. The error itself may have the password within. */
export function createReasons(): (error: Error) => void {
  const saidAt = new Map<string, number>()
  return (error) => {
    const kind = kindOf(error)
    const before = saidAt.get(kind)
    const now = performance.now()
    if (before !== undefined ? now - before < SAY_AGAIN_MS : saidAt.size >= KINDS_MAX) return
    saidAt.set(kind, now)
    logger().warn({ reason: error.message }, ADVICE[kind] ?? 'Redis has failed')
  }
}

function forEach(kinds: string[], advice: string): Record<string, string> {
  return Object.fromEntries(kinds.map((kind) => [kind, advice]))
}
