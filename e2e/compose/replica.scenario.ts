import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Compose, docker, engineMissing, newCompose } from './compose.ts'

// The replica of docker-compose.yml loses its primary, its copy or its slot in every way, in this order, on a project of its own.

const missing = await engineMissing()
if (missing) process.stdout.write(`skipped: no container engine with Compose answers (${missing})\n`)

let compose: Compose
let marks = 0

const up = (...services: string[]) => compose.run('up', '--detach', '--wait', '--wait-timeout', '300', ...services)
const eventually = <T>(check: () => Promise<T>) => expect.poll(check, { timeout: 120_000, interval: 500 })
const onReplica = (statement: string) => compose.sql(statement, 'postgres-replica').catch(() => 'it does not answer')
const logged = () => compose.run('logs', '--no-log-prefix', 'postgres-replica')
const timesCopied = async () => (await logged()).split('the primary is copied').length - 1
const removeVolume = async (service: 'postgres-primary' | 'postgres-replica') => {
  await compose.run('rm', '--stop', '--force', service)
  await docker(['volume', 'rm', `${compose.project}_${service.replace('postgres-', '')}`])
}
/** Runs a command in another container of the replica's service, while the replica is stopped. */
const inVolume = (command: string) =>
  compose.run('run', '--rm', '--no-deps', '--entrypoint', 'bash', 'postgres-replica', '-euc', command)

/** Fails unless the replica gets what is written now, and has everything that was written before. */
async function expectFollows(): Promise<void> {
  await compose.sql(`insert into marks values (${++marks})`)
  await eventually(() => onReplica('select pg_is_in_recovery(), count(*) from marks')).toBe(`t|${marks}`)
}

describe.skipIf(missing !== undefined)('the replica', () => {
  beforeAll(async () => {
    compose = await newCompose()
    await up('postgres-primary')
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
    // Stops the sender as soon as it has sent something, so that the kill comes before the end.
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
    await removeVolume('postgres-replica')
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

  it('is never copied over once it was promoted', async () => {
    await compose.sql('select pg_promote()', 'postgres-replica')
    await compose.sql('insert into marks values (-1)', 'postgres-replica')
    const before = await timesCopied()
    await compose.run('restart', 'postgres-replica')
    await eventually(() => onReplica('select pg_is_in_recovery(), min(id) from marks')).toBe('f|-1')
    await compose.run('kill', 'postgres-replica')
    await inVolume('mv "$PGDATA"/global/pg_control "$PGDATA"/global/lost')
    await compose.run('start', 'postgres-replica')
    await eventually(logged).toContain('not copying the primary (it could not be started): it was promoted')
    await compose.run('stop', 'postgres-replica')
    await inVolume('mv "$PGDATA"/global/lost "$PGDATA"/global/pg_control')
    await compose.run('start', 'postgres-replica')
    await eventually(() => onReplica('select pg_is_in_recovery(), min(id) from marks')).toBe('f|-1')
    expect(await timesCopied()).toBe(before)
  })

  it('is never copied over while it may be all that is left of a primary that is gone', async () => {
    await removeVolume('postgres-replica')
    await up('postgres-replica')
    await expectFollows()
    await removeVolume('postgres-primary')
    await up('postgres-primary')
    await eventually(logged).toContain('its primary is another database now, and this may be all that is left')
    await compose.run('stop', 'postgres-replica')
    expect(await timesCopied()).toBe(1)
    const start = 'postgres -c config_file=/etc/postgresql/postgresql.conf -c listen_addresses= & sleep 0.1'
    const count = `until psql -U postgres -d stock -Atqc 'select count(*) from marks' 2>/dev/null; do sleep 0.1; done`
    expect((await inVolume(`${start}; ${count}`)).split('\n').at(-1)).toBe(String(marks))
  })
})
