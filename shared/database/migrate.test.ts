import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { logger } from '#telemetry'
import { blocked, inRivalSession, sql } from '#testing'

let home = ''
let fresh = ''
let directory: URL

/** An empty database, which the code under test uses as its own. */
beforeEach(async () => {
  home = environment().DATABASE_URL as string
  fresh = `${new URL(home).pathname.slice(1)}_fresh`
  await sql.unsafe(`create database ${fresh}`)
  await useDatabase(fresh)
  directory = pathToFileURL(`${await mkdtemp(join(tmpdir(), 'migrations-'))}/`)
})

afterEach(async () => {
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: home })
  await sql.unsafe(`drop database ${fresh} with (force)`)
  await rm(directory, { recursive: true })
})

async function useDatabase(name: string) {
  const url = new URL(home)
  url.pathname = `/${name}`
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: url.href })
}

const write = (name: string, text: string) => writeFile(new URL(name, directory), text)
const applied = async () => (await sql`select name from schema_migrations order by name`).map((row) => row.name)

describe('migrate', () => {
  it('brings an empty database to the newest version, and does nothing the second time', async () => {
    const first = await migrate()
    expect(first[0]).toBe('0001_initial.sql')
    expect(await sql`select code from locations`).toMatchObject([{ code: 'main' }])
    expect(await migrate()).toEqual([])
    expect(await applied()).toEqual(first)
  })

  it('runs each file once, in order, when several processes start at once', async () => {
    await write('0001_table.sql', 'create table numbers (number int)')
    await write('0002_one.sql', 'insert into numbers values (1); select pg_sleep(0.05)')
    await write('0003_two.sql', 'insert into numbers select max(number) + 1 from numbers')
    const runs = await Promise.all([migrate(directory), migrate(directory), migrate(directory)])
    expect(runs.flat().sort()).toEqual(['0001_table.sql', '0002_one.sql', '0003_two.sql'])
    expect(await sql`select number from numbers order by number`).toMatchObject([{ number: 1 }, { number: 2 }])
  })

  it('runs only the files that are missing', async () => {
    await write('0001_table.sql', 'create table numbers (number int)')
    await migrate(directory)
    await write('0002_one.sql', 'insert into numbers values (1)')
    expect(await migrate(directory)).toEqual(['0002_one.sql'])
  })

  it('refuses a database that is newer than the code, and changes nothing', async () => {
    await migrate()
    await sql`insert into schema_migrations (name) values ('9999_from_the_future.sql')`
    await expect(migrate()).rejects.toThrow('newer than this code: it has had 9999_from_the_future.sql')
  })

  it('leaves nothing of a file that fails, keeps those before it, and can be run again', async () => {
    await write('0001_table.sql', 'create table numbers (number int)')
    await write('0002_broken.sql', 'insert into numbers values (1); insert into nowhere values (1)')
    await expect(migrate(directory)).rejects.toThrow('nowhere')
    expect(await applied()).toEqual(['0001_table.sql'])
    expect(await sql`select number from numbers`).toEqual([])
    await write('0002_broken.sql', 'insert into numbers values (1)')
    expect(await migrate(directory)).toEqual(['0002_broken.sql'])
  })

  describe('with an index that is built concurrently', () => {
    const INDEX = '-- Why.\ncreate unique index concurrently if not exists numbers_once on numbers (number);\n'
    const isValid = () => sql`select indisvalid from pg_index where indexrelid = to_regclass('numbers_once')`

    beforeEach(async () => {
      await write('0001_table.sql', 'create table numbers (number int)')
      await migrate(directory)
      await write('0002_index.sql', INDEX)
    })

    it('lets writers go on while it waits for those that were there before', async () => {
      const running = await inRivalSession(async (rival) => {
        await rival`insert into numbers values (1)`
        const running = Promise.all([migrate(directory), migrate(directory), migrate(directory)])
        await blocked()
        await sql`insert into numbers values (2)`
        await rival`commit`
        return running
      })
      expect(running.flat()).toEqual(['0002_index.sql'])
      expect(await isValid()).toEqual([{ indisvalid: true }])
      expect(await sql`select number from numbers order by number`).toEqual([{ number: 1 }, { number: 2 }])
    })

    it('builds it anew where an attempt has failed, and writes down none but the one that did not', async () => {
      await sql`insert into numbers values (1), (1)`
      await expect(migrate(directory)).rejects.toThrow('numbers_once')
      expect([await isValid(), await applied()]).toEqual([[{ indisvalid: false }], ['0001_table.sql']])
      await sql`truncate numbers`
      expect(await migrate(directory)).toEqual(['0002_index.sql'])
      expect(await isValid()).toEqual([{ indisvalid: true }])
    })

    it.each([
      ['with another statement beside it', `${INDEX}select 1;`],
      ['that could not be repeated', 'create index concurrently numbers_once on numbers (number)'],
    ])('refuses one %s', async (_, text) => {
      await write('0002_index.sql', text)
      await expect(migrate(directory)).rejects.toThrow('in a file of its own')
      expect(await isValid()).toEqual([])
    })

    it('refuses to build it through a pooler', async () => {
      await closeDatabase()
      overrideEnvironment({ DATABASE_URL: `${environment().DATABASE_URL}?pgbouncer=true` })
      await expect(migrate(directory)).rejects.toThrow('DATABASE_URL: must lead to PostgreSQL itself')
    })
  })

  describe('while a long read keeps a table', () => {
    beforeEach(async () => {
      await write('0001_table.sql', 'create table products (name text)')
      await migrate(directory)
      await sql`insert into products values ('Tea pot')`
      await write('0002_column.sql', 'alter table products add column sku text')
    })

    /** Reads the table in a transaction that stays open until `work` is done. */
    const duringRead = <Result>(work: (pid: number) => Promise<Result>) =>
      inRivalSession(async (rival) => {
        const [row] = await rival<
          [{ pid: number }]
        >`select pg_backend_pid() as pid from (select count(*) from products) as read`
        return work(row.pid)
      })

    it('lets other readers pass, says whose lock it waits for, and runs the file once that ends', async () => {
      const warn = vi.spyOn(logger(), 'warn')
      const { running, pid } = await duringRead(async (pid) => {
        const running = migrate(directory)
        await blocked()
        // This read queues behind the migration. It fails if the migration waits for longer than a read may.
        expect(await sql`select name from products`).toEqual([{ name: 'Tea pot' }])
        await vi.waitFor(() => expect(warn).toHaveBeenCalled(), { timeout: 10_000 })
        return { running, pid }
      })
      expect(await running).toEqual(['0002_column.sql'])
      expect(warn.mock.calls[0]).toEqual([
        { holders: [pid] },
        `0002_column.sql could not get a lock that the sessions of pid ${pid} hold; it will be tried again`,
      ])
    })

    it('ends with an error where that does not end in time, and changes nothing', async () => {
      await duringRead((pid) =>
        expect(migrate(directory, 0)).rejects.toThrow(
          `0002_column.sql could not get a lock that the sessions of pid ${pid} hold`,
        ),
      )
      expect(await applied()).toEqual(['0001_table.sql'])
      expect(await migrate(directory)).toEqual(['0002_column.sql'])
    })
  })

  it('runs a file again that was ended because it and a writer waited for each other', async () => {
    await write('0001_tables.sql', 'create table holds (id int); create table sales (id int)')
    await migrate(directory)
    await write('0002_columns.sql', 'alter table holds add column at date; alter table sales add column at date')
    const warn = vi.spyOn(logger(), 'warn')
    const { running } = await inRivalSession(async (rival) => {
      // With this, the migration detects the deadlock first.
      await rival`set local deadlock_timeout = '1h'`
      await rival`insert into sales values (1)`
      const running = migrate(directory)
      await blocked(1, 'alter table')
      await rival`insert into holds values (1)`
      return { running }
    })
    expect(await running).toEqual(['0002_columns.sql'])
    expect(warn).toHaveBeenCalledWith(
      expect.anything(),
      expect.stringContaining('0002_columns.sql could not get a lock'),
    )
  })
})
