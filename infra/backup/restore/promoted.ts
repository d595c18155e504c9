import { shutDown } from '#async'
import { databaseSettings, systemContext } from '#database'
import { logger } from '#telemetry'
import { settlePromotion } from './settle.ts'

// Runs after a promotion in which commits may have been lost. npm run failover does that in the containers; on other servers, the operator does.
try {
  databaseSettings()
  const settled = await settlePromotion(systemContext('operator:failover'), (done) =>
    logger().info({ done }, 'published'),
  )
  logger().info(settled, 'the promotion is settled: products are published anew, and holds are kept for a day')
} catch (error) {
  logger().fatal({ err: error }, 'the promotion could not be settled: try again')
  process.exitCode = 1
} finally {
  await shutDown()
}
