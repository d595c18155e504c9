import type { Following, Subscription } from './delivery/subscription.ts'
import { followKafka } from './kafka/consumer.ts'
import { followLog } from './postgres/consumer.ts'
import { followRedriven } from './redriven.ts'
import { eventsSettings } from './settings.ts'

/**
 * Delivers the events of some topics, from the group's last position on, at least once each, one by one or in batches. The events of one product in
 * a topic come in order. A rejected event is dead-lettered. An event to be retried holds back the later events of its product until it succeeds or
 * has used up its attempts. A redriven event comes alone, after later events of its product or at the same time. Throws a ConfigError.
 *
 * @example
 * const following = follow({ topics: ['stock-events'], group: 'send-receipts', deliver: async (event) => ({ verdict: 'acknowledge' }) })
 * onShutdown(following.stop)
 */
export function follow(subscription: Subscription): Following {
  const settings = eventsSettings()
  const followings = [
    settings.adapter === 'kafka' ? followKafka(subscription, settings) : followLog(subscription),
    followRedriven(subscription),
  ]
  return {
    async stop() {
      await Promise.all(followings.map((following) => following.stop()))
    },
  }
}
