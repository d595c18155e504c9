import type { Board } from './dashboard.ts'
import { quantile, rate } from './promql.ts'

/** PostgreSQL, its replica, the pools in front of them, and the cache. */
export const data: Board = {
  title: 'Data',
  name: 'data',
  rows: [
    {
      title: 'Connections',
      of: '.+',
      panels: [
        {
          title: 'Connections in use',
          unit: 'percentunit',
          lines: {
            '{{service}} {{pool}}':
              'max by (service, pool) (sum by (service, instance, pool) (database_pool_connections{state="busy"}) / sum by (service, instance, pool) (database_pool_limit))',
          },
          help: 'At 100 % requests wait for a connection. First find what is slow (traces); more connections help only where PostgreSQL has idle cores (DATABASE_POOL_MAX).',
        },
        {
          title: 'Requests that wait for a connection',
          unit: 'short',
          lines: { '{{pool}}': 'sum by (pool) (database_pool_waiting)' },
          help: 'Should be 0 but for moments. If it stays, a transaction holds its connection for long: docs/runbooks/latency-burn.md.',
        },
        {
          title: 'Wait for a connection, 99 %',
          unit: 's',
          lines: { '{{pool}}': quantile(0.99, 'database_pool_wait_seconds', 'pool') },
          help: 'Part of the time to answer. Above 100 ms the pool is too small, or the server too slow.',
        },
      ],
    },
    {
      title: 'Reads and the replica',
      of: 'get-.+|list-.+|query-availability',
      panels: [
        {
          title: 'Reads by server',
          unit: 'reqps',
          lines: { '{{server}}: {{reason}}': rate('database_reads_total', 'server, reason') },
          help: 'Reads belong on the replica. On the primary for another reason than a token: the replica is out of rotation, docs/runbooks/replica-lagging.md.',
        },
        {
          title: 'Lag in time',
          unit: 's',
          lines: { seconds: 'max(database_replica_lag_seconds)' },
          help: 'How old what the replica shows is. Past 5 s: docs/runbooks/replica-lagging.md.',
        },
        {
          title: 'Lag in log',
          unit: 'bytes',
          lines: { bytes: 'max(database_replica_lag_bytes)' },
          help: 'Log that the replica has not replayed. Grows in time too: the replica is stuck. Grows alone: much is written, and it keeps up.',
        },
        {
          title: 'Processes that read from the replica',
          unit: 'percentunit',
          lines: { share: 'avg(database_replica_in_rotation)' },
          help: 'Below 100 % some processes have found the replica unwell. Reads go to the primary meanwhile, a bounded number at a time.',
        },
        {
          title: 'Removals from rotation',
          unit: 'ops',
          lines: { '{{reason}}': rate('database_replica_removals_total', 'reason') },
          help: 'lagging: too far behind. unreachable: it does not answer. promoted: it has become a primary. docs/runbooks/replica-lagging.md.',
          emptyUntil: 'the replica was never out of rotation',
        },
        {
          title: 'Reads at the primary',
          unit: 'percentunit',
          lines: {
            '{{of}}': 'max by (of) (database_primary_reads_in_flight / database_primary_reads_limit)',
          },
          help: 'Of the bound that keeps reads from the connections of writes. At 100 % the next ones wait, and get 503: the replica is away, or the cache.',
        },
      ],
    },
    {
      title: 'Cache',
      of: 'get-.+|list-products',
      panels: [
        {
          title: 'Reads through the cache',
          unit: 'reqps',
          lines: { '{{cache}} {{outcome}}': rate('cache_requests_total', 'cache, outcome') },
          help: 'Misses after a deployment or a restart of Redis are normal for a minute. Many `too_old` are clients that send tokens of their own writes.',
        },
        {
          title: 'Values loaded',
          unit: 'ops',
          lines: { '{{cache}}': rate('cache_loads_total', 'cache') },
          help: 'One for all readers that miss at once. Near the number of misses: keys are spread thin, and the cache does little.',
        },
        {
          title: 'Failures of the cache',
          unit: 'ops',
          lines: {
            '{{operation}}': rate('cache_failures_total', 'operation'),
            'invalidations dropped': rate('cache_invalidations_dropped_total'),
          },
          help: 'Requests go on without it, at the cost of the replica: docs/runbooks/redis-down.md.',
          emptyUntil: 'the cache has not failed',
        },
        {
          title: 'Circuit breaker of Redis',
          unit: 'percentunit',
          lines: { 'processes with an open breaker': 'avg(redis_breaker_open)' },
          help: 'Open: the process does without Redis. In all of them Redis is down, in one its network: docs/runbooks/redis-down.md.',
        },
        {
          title: 'Groups that wait to be invalidated',
          unit: 'short',
          lines: { groups: 'sum(cache_invalidations_pending)' },
          help: 'While these wait, cached reads without a token may be older than the commit. Grows only while Redis is away.',
        },
        {
          title: 'Rate limits',
          unit: 'reqps',
          lines: {
            '{{outcome}}': rate('rate_limit_requests_total', 'outcome'),
            'counted in the process': rate('rate_limit_local_total'),
          },
          help: 'Refused ones got 429: a client without back-off, or a limit too low (RATE_LIMIT). Counted in the process: Redis did not answer, and each process allows its own share.',
        },
      ],
    },
    {
      title: 'PostgreSQL',
      of: '.+',
      panels: [
        {
          title: 'Servers that answer',
          unit: 'none',
          lines: { '{{instance}}': 'pg_up' },
          help: '0: the server is down, or its exporter can’t log in. docs/runbooks/primary-down.md.',
        },
        {
          title: 'Replicas',
          unit: 'none',
          lines: { '{{instance}}': 'pg_replication_is_replica' },
          emptyUntil: 'the exporter is too old to tell, as 0.11 is',
          help: '0: the primary, of which there is one. With none, and with two: docs/runbooks/primary-down.md.',
        },
        {
          title: 'Sessions',
          unit: 'short',
          lines: { '{{instance}} {{state}}': 'sum by (instance, state) (pg_stat_activity_count{datname!=""})' },
          help: 'Beside max_connections (400). `idle in transaction` that stays holds locks and keeps rows from being cleaned up: find it in pg_stat_activity.',
        },
        {
          title: 'Transactions',
          unit: 'ops',
          lines: {
            '{{instance}} committed': rate('pg_stat_database_xact_commit', 'instance'),
            '{{instance}} rolled back': rate('pg_stat_database_xact_rollback', 'instance'),
          },
          help: 'Commits fall while requests do not: the primary waits, for its disk mostly.',
        },
        {
          title: 'Log written',
          unit: 'Bps',
          lines: { log: 'max(rate(pg_stat_replication_pg_current_wal_lsn_bytes[$__rate_interval]))' },
          help: 'Grows with writes. Much log for few reservations is full-page images after each checkpoint: look at max_wal_size.',
        },
        {
          title: 'Size of the database',
          unit: 'bytes',
          lines: {
            '{{instance}} {{datname}}':
              'max by (instance, datname) (pg_database_size_bytes{datname!~"template.*|postgres"})',
          },
          help: 'The ledger grows for ever, everything else is pruned: docs/runbooks/disk-filling.md.',
        },
        {
          title: 'Deadlocks',
          unit: 'ops',
          lines: { '{{instance}}': rate('pg_stat_database_deadlocks', 'instance') },
          help: 'Must be 0: locks are taken in one order. PostgreSQL’s log names the statements of one that happened.',
        },
      ],
    },
  ],
}
