import { randomBytes } from 'node:crypto'
import { engineUrl } from './engine.ts'

/**
 * An EVENTS_URL on the Kafka of this test run, with topics and groups only for this file. Undefined if there is no Kafka: then the run says
 * why, and tests that need Kafka are skipped. In CI the run fails instead (infra/testing/global-setup.ts).
 */
export const kafkaUrl = prefixed(await engineUrl('kafka'))

/** Part of a suite's title, so that a skipped suite shows its reason. */
export const inKafka = kafkaUrl === undefined ? 'in Kafka (skipped: there is none that could be started)' : 'in Kafka'

function prefixed(url: string | undefined): string | undefined {
  return url && `${url}?partitions=3&prefix=test-${randomBytes(6).toString('hex')}.`
}
