import { inject } from 'vitest'

/** The RabbitMQ of this test run; undefined where there is none, as with `redisUrl`. */
export const rabbitUrl = inject('rabbitUrl')

/** Part of a suite's title, so that a skipped one tells its reason. */
export const inRabbit = rabbitUrl === undefined ? 'in RabbitMQ (skipped: there is no rabbitmq-server)' : 'in RabbitMQ'
