import type { Following, Subscription } from './delivery.ts'
import { followKafka } from './kafka/consumer.ts'
import { followLog } from './postgres/consumer.ts'
import { eventsSettings } from './settings.ts'

/**
 * Delivers the events of some topics from where the group has come to, those of one product in a topic in order and one at a
 * time: at least once each. One that is rejected is put among the dead events; one to be retried holds up what comes behind it,
 * in the embedded log or in its partition of Kafka, until it succeeds or has used up its attempts. Throws a ConfigError.
 */
export function follow(subscription: Subscription): Following {
  const settings = eventsSettings()
  return settings.adapter === 'kafka' ? followKafka(subscription, settings) : followLog(subscription)
}
