import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { sql } from '#testing'

let home = ''
let fresh = ''
let directory: URL

/** An empty database, which the code under test takes for its own. */
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
})
