/** A fault of the containers, as commands of a shell, and the alerts that it is to raise. */
export interface Drill {
  alerts: readonly string[]
  inject: string
  /** What ends it, unless the one who drills does so by the runbook. */
  mend: string
}

const sql = (statement: string) =>
  `docker compose exec -T postgres-primary psql -U postgres -d stock -XAtqc "${statement}"`
/** Of all in a container but its first process, which no signal from inside reaches. */
const signal = (name: string, service: string) => `docker compose exec -T ${service} bash -c 'kill -${name} -1' || true`

/** One that all others wait for, again and again: each reservation takes some 0.4 s. */
const HOLD_LOCKS = `do 'begin for turn in 1..1000 loop
  lock table stock_levels in exclusive mode; perform pg_sleep(0.4); commit; perform pg_sleep(0.02); end loop; end'`

const TRACEPARENT = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`

/** An event that no consumer can read, as one of another version of the service might be. */
const UNFIT_EVENT = `insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
  values (gen_random_uuid(), 'stock-events', 'stock.low', gen_random_uuid(), 1, '{}', now(), '${TRACEPARENT}')`

/** The same for a job. */
const UNFIT_JOB = `with job as (
    insert into jobs (id, type, payload, attempts_max, run_at, actor, traceparent)
    values (gen_random_uuid(), 'export-stock', '{\\"format\\": \\"none\\"}', 1, now(), 'drill', '${TRACEPARENT}') returning id
  ) insert into job_dispatches (job_id) select id from job`

const FIRST_BALANCE =
  '(product_id, location) = (select product_id, location from stock_levels order by product_id, location limit 1)'

/** By the name of the runbook. */
export const drills: Readonly<Record<string, Drill>> = {
  'audit-inconsistent': {
    alerts: ['AuditInconsistent'],
    inject: sql(`update stock_levels set on_hand = on_hand + 1 where ${FIRST_BALANCE}`),
    mend: sql(`update stock_levels set on_hand = on_hand - 1 where ${FIRST_BALANCE}`),
  },
  'dead-letters': {
    alerts: ['JobsDead', 'EventsDead'],
    inject: `${sql(UNFIT_JOB)} && ${sql(UNFIT_EVENT)}`,
    mend: `${sql("delete from jobs where state = 'dead' and actor = 'drill'")} && ${sql("delete from dead_events where data::text = '{}'")}`,
  },
  'function-crash-loop': {
    alerts: ['FunctionCrashLoops'],
    inject: `for crash in 1 2 3 4; do ${signal('KILL', 'get-stock')}; sleep 15; done`,
    mend: 'true',
  },
  'kafka-down': {
    alerts: ['KafkaDown', 'OutboxOld'],
    inject: 'docker compose kill kafka',
    mend: 'docker compose up -d kafka',
  },
  'latency-burn': {
    alerts: ['LatencyBurns page'],
    inject: `${sql(HOLD_LOCKS)} &`,
    mend: sql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'do ''begin for turn%'"),
  },
  'primary-down': {
    alerts: ['PrimaryDown'],
    inject: 'docker compose kill postgres-primary',
    mend: 'docker compose up -d postgres-primary',
  },
  'rabbitmq-down': {
    alerts: ['RabbitmqDown'],
    inject: 'docker compose kill rabbitmq',
    mend: 'docker compose up -d rabbitmq',
  },
  'redis-down': { alerts: ['RedisDown'], inject: 'docker compose kill redis', mend: 'docker compose up -d redis' },
  'stuck-consumer': {
    alerts: ['ConsumerStuck'],
    inject: signal('STOP', 'notify-webhooks'),
    mend: 'docker compose restart notify-webhooks',
  },
}
