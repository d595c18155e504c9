import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Compose, docker, engineMissing, newCompose } from './compose.ts'

// The servers of docker-compose.yml lose each other, their data or their slot in every way, in this order, in a separate project.

const missing = await engineMissing()
if (missing) process.stdout.write(`skipped: no container engine with Compose answers (${missing})\n`)

type Server = 'postgres-primary' | 'postgres-replica'

let compose: Compose
let marks = 0

const up = (...services: string[]) => compose.run('up', '--detach', '--wait', '--wait-timeout', '300', ...services)
const eventually = <T>(check: () => Promise<T>) => expect.poll(check, { timeout: 120_000, interval: 500 })
const onReplica = (statement: string) => compose.sql(statement, 'postgres-replica').catch(() => 'it does not answer')
const logged = (service: Server = 'postgres-replica') => compose.run('logs', '--no-log-prefix', service)
const timesCopied = async () => (await logged()).split('the primary is copied').length - 1
const onPrimary = (statement: string) => compose.sql(statement).catch(() => 'it does not answer')
/** Runs a command in a second container of a server's service, while the server is stopped. */
const inVolume = (command: string, service: Server = 'postgres-replica') =>
  compose.run('run', '--rm', '--no-deps', '--entrypoint', 'bash', service, '-euc', command)
const loseData = async (service: Server) => {
  await compose.run('kill', service)
  await inVolume('rm -rf "$PGDATA"', service)
}

/** Fails unless the replica receives new writes, and has all earlier writes. */
async function expectFollows(): Promise<void> {
  await compose.sql(`insert into marks values (${++marks})`)
  await eventually(() => onReplica('select pg_is_in_recovery(), count(*) from marks')).toBe(`t|${marks}`)
}

describe.skipIf(missing !== undefined)('the replica', () => {
  beforeAll(async () => {
    compose = await newCompose()
    await up('postgres-primary')
    // Only the tests' own transactions commit.
    await compose.sql('alter system set autovacuum = off')
    await compose.sql('select pg_reload_conf()')
    await compose.sql('create table marks (id int)')
    await compose.sql(`create table filler as select repeat('x', 1000) from generate_series(1, 100000)`)
  })
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await compose.keepLogs()
  })

  afterAll(async () => {
    await compose.run('down', '--volumes', '--timeout', '5')
  })

  it('begins anew where its first copy was killed half-way', async () => {
    // Stops the WAL sender as soon as it has sent something, so that the kill comes before the end.
    const hold = compose.sql(`do $$ declare sender int; begin
      loop
        select pid into sender from pg_stat_progress_basebackup where backup_streamed > 0;
        exit when found;
        perform pg_sleep(0.001), pg_stat_clear_snapshot();
      end loop;
      execute format('copy (select) to program %L', 'kill -STOP ' || sender);
    end $$`)
    await compose.run('up', '--detach', 'postgres-replica')
    await hold
    const [sent, total] = (
      await compose.sql('select backup_streamed, backup_total from pg_stat_progress_basebackup')
    ).split('|')
    expect(Number(sent)).toBeLessThan(Number(total))
    await compose.run('kill', 'postgres-replica')
    await compose.sql(`do $$ begin
      execute (select format('copy (select) to program %L', 'kill -CONT ' || pid) from pg_stat_progress_basebackup);
    end $$`)
    expect(await timesCopied()).toBe(0)
    await compose.run('start', 'postgres-replica')
    await expectFollows()
    expect(await inVolume('ls "$(dirname "$PGDATA")"')).toBe('docker')
  })

  it('answers before its primary is up, and follows once it is', async () => {
    await compose.run('stop', 'postgres-primary', 'postgres-replica')
    await docker(['start', `${compose.project}-postgres-replica-1`])
    await eventually(() => onReplica('select count(*) from marks')).toBe(String(marks))
    await docker(['start', `${compose.project}-postgres-primary-1`])
    await up('postgres-primary')
    await expectFollows()
    expect(await timesCopied()).toBe(1)
  })

  it('copies the primary where its volume is gone', async () => {
    await loseData('postgres-replica')
    await up('postgres-replica')
    await expectFollows()
  })

  it('copies the primary where its copy is damaged', async () => {
    const before = await timesCopied()
    await compose.run('kill', 'postgres-replica')
    await inVolume('dd if=/dev/zero of="$PGDATA/global/pg_control" bs=8192 count=1 conv=notrunc status=none')
    await compose.run('start', 'postgres-replica')
    await expectFollows()
    expect(await timesCopied()).toBe(before + 1)
  })

  it('is never copied over once it was promoted, and the primary that it has replaced follows it', async () => {
    const before = await timesCopied()
    await compose.sql('select pg_promote()', 'postgres-replica')
    await compose.sql('insert into marks values (-1)', 'postgres-replica')
    await eventually(() => onPrimary('select pg_is_in_recovery(), min(id) from marks')).toBe('t|-1')
    expect(await logged('postgres-primary')).toContain('no primary any more: postgres-replica was promoted')
    await compose.run('restart', 'postgres-replica')
    await eventually(() => onReplica('select pg_is_in_recovery(), min(id) from marks')).toBe('f|-1')
    await compose.run('kill', 'postgres-replica')
    await inVolume('mv "$PGDATA"/global/pg_control "$PGDATA"/global/lost')
    await compose.run('start', 'postgres-replica')
    await eventually(logged).toContain('could not find the database system')
    await compose.run('stop', 'postgres-replica')
    await inVolume('mv "$PGDATA"/global/lost "$PGDATA"/global/pg_control')
    await compose.run('start', 'postgres-replica')
    await eventually(() => onReplica('select pg_is_in_recovery(), min(id) from marks')).toBe('f|-1')
    expect(await timesCopied()).toBe(before)
  })

  it('takes the place of a primary whose data are gone, which copies it then, and makes no new database beside it', async () => {
    const refusal = (service: Server) => `there are no data here, and ${service} has a replica of those that were`
    await loseData('postgres-replica')
    await compose.run('start', 'postgres-replica')
    await eventually(logged).toContain(refusal('postgres-primary'))
    await compose.script('failover')
    await compose.run('start', 'postgres-replica')
    await eventually(() => onReplica('select pg_is_in_recovery(), min(id) from marks')).toBe('t|-1')
    // This is the server that made the database at first, and could make another one.
    await loseData('postgres-primary')
    await compose.run('start', 'postgres-primary')
    await eventually(() => logged('postgres-primary')).toContain(refusal('postgres-replica'))
    expect(await inVolume('ls "$(dirname "$PGDATA")"', 'postgres-primary')).toBe('')
  })

  it('does not start where the volume of the other can’t be read', async () => {
    const run = compose.run('run', '--rm', '--no-deps', '-T', '--user', '1234', 'postgres-primary')
    await expect(run).rejects.toThrow("the volume of postgres-replica can't be read")
  })
})
