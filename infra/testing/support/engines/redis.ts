import { engineUrl } from './engine.ts'

/**
 * The Redis of this test run. Where there is none it is undefined, the run says why, and what needs it is skipped; in CI the run
 * fails instead (infra/testing/global-setup.ts).
 */
export const redisUrl = await engineUrl('redis')

/** Part of a suite's title, so that a skipped one tells its reason. */
export const inRedis = redisUrl === undefined ? 'in Redis (skipped: there is no redis-server)' : 'in Redis'
