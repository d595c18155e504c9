import type { Board } from './dashboard.ts'
import { median99, quantile, rate } from './promql.ts'

/** Events from the outbox to their consumers, jobs, and webhooks. */
export const messaging: Board = {
  title: 'Messaging',
  name: 'messaging',
  rows: [
    {
      title: 'Outbox',
      of: 'publish-events|measure-backlog',
      panels: [
        {
          title: 'Age of the oldest unpublished event',
          unit: 's',
          lines: { age: 'max(outbox_oldest_age_seconds)' },
          help: 'Below a second while all is well. Grows: publish-events is down or Kafka does not take events, docs/runbooks/kafka-down.md.',
        },
        {
          title: 'Events that wait in the outbox',
          unit: 'short',
          lines: { events: 'max(outbox_events)' },
          help: 'Nothing is lost while they wait. The relay publishes some thousands a second once the log takes them.',
        },
        {
          title: 'Events published',
          unit: 'ops',
          lines: { events: rate('outbox_published_total') },
          help: 'As many as changes are committed. Zero while events wait: docs/runbooks/kafka-down.md.',
        },
        {
          title: 'Events published at once',
          unit: 'short',
          lines: median99('outbox_batch_events'),
          help: 'Larger batches mean that the log is slow or that much is written; both are fine while the age is low.',
        },
        {
          title: 'Failures to publish',
          unit: 'ops',
          lines: { '{{kind}}': rate('outbox_failures_total', 'kind') },
          help: 'unavailable: the broker is away. refused: it does not take that event, which holds back its product; the log says why.',
          emptyUntil: 'the log took every event',
        },
        {
          title: 'Products held back',
          unit: 'short',
          lines: { products: 'max(outbox_blocked_keys)' },
          help: 'Products whose next event is refused. After ten attempts it is dead, and the product goes on: docs/runbooks/dead-letters.md.',
        },
      ],
    },
    {
      title: 'Consumers',
      of: 'detect-low-stock|notify-webhooks|measure-backlog',
      panels: [
        {
          title: 'Lag of a group in time',
          unit: 's',
          lines: { '{{group}} {{topic}}': 'max by (group, topic) (stream_lag_seconds)' },
          help: 'How long the oldest event that a group has not done has been in the log. Grows steadily: docs/runbooks/stuck-consumer.md.',
        },
        {
          title: 'Lag of a group in events',
          unit: 'short',
          lines: { '{{group}} {{topic}}': 'max by (group, topic) (stream_lag_events)' },
          help: 'Falls after a load has passed. Flat and not zero: one event is tried over and over, and holds back its product.',
        },
        {
          title: 'Events delivered',
          unit: 'ops',
          lines: { '{{group}} {{verdict}}': rate('stream_events_total', 'group, verdict') },
          help: 'acknowledge is done. retry: an attempt that failed, and another to come. reject: the event was refused, and is dead. The log of the function says why.',
        },
        {
          title: 'Dead events',
          unit: 'short',
          lines: { '{{group}}': 'max by (group) (stream_dead_events) > 0' },
          help: 'Refused, and waiting for an operator: docs/runbooks/dead-letters.md.',
          emptyUntil: 'no event is dead',
        },
        {
          title: 'Connections to the log lost',
          unit: 'ops',
          lines: { '{{group}}': rate('stream_interruptions_total', 'group') },
          help: 'Consumers start again by themselves. Steadily: the broker’s or the network’s trouble, docs/runbooks/kafka-down.md.',
          emptyUntil: 'no consumer has lost Kafka',
        },
        {
          title: 'Events lost or unreadable',
          unit: 'ops',
          lines: { lost: rate('stream_losses_total'), unreadable: rate('stream_unreadable_total') },
          help: 'Must be 0. Lost: Kafka deleted events before a group read them; lengthen its retention, then have consumers rebuild what they keep.',
          emptyUntil: 'nothing was lost',
        },
      ],
    },
    {
      title: 'Jobs',
      of: 'dispatch-jobs|process-job|measure-backlog',
      panels: [
        {
          title: 'Unfinished jobs',
          unit: 'short',
          lines: { '{{type}} {{state}}': 'max by (type, state) (jobs_unfinished)' },
          help: 'Queued ones grow while none run: process-job is down, or RabbitMQ, docs/runbooks/rabbitmq-down.md.',
        },
        {
          title: 'Oldest job that is due',
          unit: 's',
          lines: { '{{type}}': 'max by (type) (jobs_oldest_due_seconds)' },
          help: 'Each type has places of its own, so one that grows alone is slow itself: its receivers, or its size. All: docs/runbooks/rabbitmq-down.md.',
        },
        {
          title: 'Ended attempts',
          unit: 'ops',
          lines: { '{{state}}': rate('jobs_settled_total', 'state') },
          help: 'retrying is another attempt to come, dead the end of the attempts: docs/runbooks/dead-letters.md.',
        },
        {
          title: 'Time of a job, 99 %',
          unit: 's',
          lines: { '{{type}} {{outcome}}': quantile(0.99, 'job_duration_seconds', 'type, outcome') },
          help: 'Imports and exports take as long as their files are large. deliver-webhook is the receivers’ own time, 15 s at most.',
        },
        {
          title: 'Dead jobs',
          unit: 'short',
          lines: { '{{type}}': 'max by (type) (jobs_dead)' },
          help: 'Given up, and waiting for an operator: docs/runbooks/dead-letters.md.',
        },
        {
          title: 'Jobs sent to the broker',
          unit: 'ops',
          lines: { sent: rate('jobs_dispatched_total'), 'sent again': rate('jobs_dispatched_again_total') },
          help: 'Sent again: the broker had lost the messages, for example after its volume was replaced. Zero while jobs are due: docs/runbooks/rabbitmq-down.md.',
        },
      ],
    },
    {
      title: 'RabbitMQ',
      of: 'dispatch-jobs|process-job',
      panels: [
        {
          title: 'Messages in its queues',
          unit: 'short',
          lines: {
            'wait for a consumer or their time': 'sum(rabbitmq_queue_messages_ready)',
            'not acknowledged': 'sum(rabbitmq_queue_messages_unacked)',
          },
          help: 'Of all queues, those of retries and of dead messages included. Those that wait grow while none is acknowledged: process-job is down or hangs, docs/runbooks/rabbitmq-down.md.',
        },
        {
          title: 'Consumers of its queues',
          unit: 'short',
          lines: { consumers: 'sum(rabbitmq_queue_consumers)' },
          help: 'One for each type of job in each process of process-job. 0: none is connected, docs/runbooks/rabbitmq-down.md.',
        },
        {
          title: 'Alarms',
          unit: 'none',
          lines: {
            memory: 'max(rabbitmq_alarms_memory_used_watermark)',
            disk: 'max(rabbitmq_alarms_free_disk_space_watermark)',
          },
          help: 'Must be 0. At 1 it takes no messages, which wait in the database: room for it, docs/runbooks/disk-filling.md, or memory, docs/runbooks/rabbitmq-down.md.',
        },
      ],
    },
    {
      title: 'Webhooks',
      of: 'notify-webhooks|process-job',
      panels: [
        {
          title: 'Deliveries by outcome',
          unit: 'ops',
          lines: { '{{outcome}}': rate('webhook_deliveries_total', 'outcome') },
          help: 'unreachable includes certificates that expired: docs/runbooks/webhook-receiver.md. circuit_open: a receiver timed out several times, and is asked now and then.',
          emptyUntil: 'no webhook was sent an event',
        },
        {
          title: 'Time of a delivery',
          unit: 's',
          lines: median99('webhook_delivery_duration_seconds'),
          help: 'The receivers’ own. Near 15 s one of them hangs; the circuit breaker keeps it from the others’ places.',
          emptyUntil: 'no webhook was sent an event',
        },
        {
          title: 'Messages that name no job',
          unit: 'ops',
          lines: { messages: rate('job_messages_dead_lettered_total') },
          help: 'Must be 0. Something else writes into the queues: look into jobs.dead on RabbitMQ’s own pages.',
        },
      ],
    },
  ],
}
