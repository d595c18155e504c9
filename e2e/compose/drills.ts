/** A fault of the containers, as shell commands, and the alerts that it must raise. */
export interface Drill {
  alerts: readonly string[]
  /** Prepares things that the fault needs. */
  prepare?: string
  inject: string
  /** Ends the fault, unless the person who drills ends it by the runbook. */
  mend: string
  /** Removes the preparations of the drill, once the alerts have cleared. */
  remove?: string
}

const sql = (statement: string) =>
  `docker compose exec -T postgres-primary psql -U postgres -d stock -XAtqc "${statement}"`
/** Signals all processes in a container except the first one, which no signal from inside reaches. */
const signal = (name: string, service: string) => `docker compose exec -T ${service} bash -c 'kill -${name} -1' || true`

/** Takes a lock that all others wait for, again and again: each reservation takes some 0.4 s. */
const HOLD_LOCKS = `do 'begin for turn in 1..1000 loop
  lock table stock_levels in exclusive mode; perform pg_sleep(0.4); commit; perform pg_sleep(0.02); end loop; end'`

const TRACEPARENT = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`

/** An event that detect-low-stock can't read, as might come from another version of the service. */
const UNFIT_EVENT = `insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
  values (gen_random_uuid(), 'stock-events', 'stock.adjusted', gen_random_uuid(), 1, '{}', now(), '${TRACEPARENT}')`

/** The same for a job. */
const UNFIT_JOB = `with job as (
    insert into jobs (id, type, payload, attempts_max, run_at, actor, traceparent)
    values (gen_random_uuid(), 'export-stock', '{\\"format\\": \\"none\\"}', 1, now(), 'drill', '${TRACEPARENT}') returning id
  ) insert into job_dispatches (job_id) select id from job`

/** Fills all but 8 % of the disk with Kafka's volume: the rule demands a tenth. Nothing is written, so it takes an instant. */
const FILL_DISK = `read -r size total free < <(stat -f -c "%S %b %a" /var/lib/kafka/data)
  fallocate -l $(( (free - total * 8 / 100) * size )) /var/lib/kafka/data/drill`

const receiver = (command: string) => `e2e/compose/receiver/receiver.sh ${command}`

/** Makes each reservation fail with 500. */
const TAKE_A_RIGHT = 'revoke insert on reservations from stock_run'

const repository = (from: string, to: string) =>
  `docker compose exec -T -u postgres postgres-primary mv /var/lib/pgbackrest/${from} /var/lib/pgbackrest/${to}`

const FIRST_BALANCE =
  '(product_id, location) = (select product_id, location from stock_levels order by product_id, location limit 1)'

/** The drills, by the name of the runbook. */
export const drills: Readonly<Record<string, Drill>> = {
  'audit-inconsistent': {
    alerts: ['AuditInconsistent'],
    inject: sql(`update stock_levels set on_hand = on_hand + 1 where ${FIRST_BALANCE}`),
    mend: sql(`update stock_levels set on_hand = on_hand - 1 where ${FIRST_BALANCE}`),
  },
  'backlog-unmeasured': {
    alerts: ['BacklogUnmeasured'],
    inject: 'docker compose stop measure-backlog',
    mend: 'docker compose up -d measure-backlog',
  },
  // This drill is for containers that make backups.
  'backup-and-restore': {
    alerts: ['ArchiveLags'],
    inject: repository('archive', 'away'),
    mend: repository('away', 'archive'),
  },
  'dead-letters': {
    alerts: ['JobsDead', 'EventsDead'],
    inject: `${sql(UNFIT_JOB)} && ${sql(UNFIT_EVENT)}`,
    mend: `${sql("delete from jobs where state = 'dead' and actor = 'drill'")} && ${sql("delete from dead_events where data::text = '{}'")}`,
  },
  'disk-filling': {
    alerts: ['DiskFills'],
    inject: `docker compose exec -T kafka bash -euc '${FILL_DISK}'`,
    mend: 'docker compose exec -T kafka rm /var/lib/kafka/data/drill',
  },
  'error-budget': {
    alerts: ['ErrorBudgetBurns page reserve-availability'],
    inject: sql(TAKE_A_RIGHT),
    mend: sql(TAKE_A_RIGHT.replace('revoke', 'grant').replace('from', 'to')),
  },
  'function-crash-loop': {
    alerts: ['FunctionCrashLoops'],
    inject: `for crash in 1 2 3 4; do ${signal('KILL', 'get-stock')}; sleep 15; done`,
    mend: 'true',
  },
  'function-down': {
    alerts: ['FunctionDown'],
    inject: 'docker compose stop confirm-reservation',
    mend: 'docker compose up -d confirm-reservation',
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
  saturation: {
    alerts: ['FunctionSaturated', 'PoolExhausted'],
    inject: 'e2e/compose/saturate.sh start &',
    mend: 'e2e/compose/saturate.sh stop',
  },
  'stuck-consumer': {
    alerts: ['ConsumerStuck'],
    inject: signal('STOP', 'notify-webhooks'),
    mend: 'docker compose restart notify-webhooks',
  },
  'webhook-receiver': {
    alerts: ['WebhooksFail'],
    prepare: receiver('start'),
    inject: receiver('expire'),
    mend: receiver('renew'),
    remove: receiver('remove'),
  },
}
