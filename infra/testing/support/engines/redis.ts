import { engineUrl } from './engine.ts'

/**
 * The Redis of this test run. Undefined if there is none: then the run says why, and tests that need Redis are skipped. In CI the run
 * fails instead (infra/testing/global-setup.ts).
 */
export const redisUrl = await engineUrl('redis')

/** Part of a suite's title, so that a skipped suite shows its reason. */
export const inRedis = redisUrl === undefined ? 'in Redis (skipped: there is no redis-server)' : 'in Redis'
