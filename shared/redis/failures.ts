import { logger } from '#telemetry'

/** How often a lasting failure is logged: often enough to be found, and rarely enough not to fill the log. */
const LOG_AGAIN_MS = 60_000
/** The most kinds of failures that are logged. */
const KINDS_MAX = 20

/** Advice for a failure, by the code of the server or the connection. */
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
    'the certificate of Redis is not signed by a trusted authority: name the file of its authority in NODE_EXTRA_CA_CERTS',
  ),
}

/** Such as `WRONGPASS` or `ECONNREFUSED`. Before Redis 7, the failure of a script has the code in its text. */
export function kindOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  return code ?? /(?:^|-)([A-Z]{3,}) /.exec(error.message)?.[1] ?? error.name
}

/** Whether the server is a replica. A new connection to the same name may lead to the primary. */
export const isReplica = (error: Error) => ['READONLY', 'MASTERDOWN'].includes(kindOf(error))

/** Logs why Redis fails: each kind at once, and then once a minute. It does not log the error itself, which may contain the password. */
export function createFailureLog(): (error: Error) => void {
  const loggedAt = new Map<string, number>()
  return (error) => {
    const kind = kindOf(error)
    const before = loggedAt.get(kind)
    const now = performance.now()
    if (before !== undefined ? now - before < LOG_AGAIN_MS : loggedAt.size >= KINDS_MAX) return
    loggedAt.set(kind, now)
    logger().warn({ reason: error.message }, ADVICE[kind] ?? 'Redis has failed')
  }
}

function forEach(kinds: string[], advice: string): Record<string, string> {
  return Object.fromEntries(kinds.map((kind) => [kind, advice]))
}
