import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { causeDisaster, type Disaster } from '../../../infra/backup/drill/disaster.ts'
import { type Recovery, recover } from '../../../infra/backup/drill/recovery.ts'
import { checkContinuity } from '../../../infra/backup/repository/inspect.ts'
import { readRepository } from '../../../infra/backup/repository/repository.ts'
import { ensurePgBackRest } from '../../../infra/local/engines/pgbackrest.ts'
import { processesNaming } from '../../../infra/local/processes.ts'

// A database is lost once, with its repository beside it. Each test then restores from that repository, with or without a fault in it.

// pgBackRest is fetched first if it is missing. A restore with all of its checks takes half a minute.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 900_000 })

/** A day: the backups are some minutes old. */
const AGE_MAX_SECONDS = 86_400

const say = (line: string) => process.stdout.write(`drill: ${line}\n`)
const program = await ensurePgBackRest(say).catch((error: Error) => {
  if (process.env.CI) throw error
  say(`skipped, because ${error.message}`)
  return undefined
})

const drill = { progress: say, signal: new AbortController().signal }
let folder: string
let disaster: Disaster
let repository: string
beforeAll(async () => {
  if (program === undefined) return
  folder = await mkdtemp(join(tmpdir(), 'stock-drill-'))
  repository = join(folder, 'repository')
  disaster = await causeDisaster(folder, program, drill)
})
afterAll(async () => {
  if (folder) await rm(folder, { recursive: true, force: true })
})

const restore = (ageMaxSeconds = AGE_MAX_SECONDS): Promise<Recovery> => recover(disaster, { ageMaxSeconds, ...drill })

/** Returns the repository's files whose path contains this text. */
async function filesWith(part: string): Promise<string[]> {
  const entries = await readdir(repository, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return files.filter((path) => path.includes(part)).sort()
}

const segmentFiles = () =>
  filesWith('archive/stock/18-1/0').then((files) => files.filter((path) => /-[0-9a-f]{40}/.test(path)))

/** Does `work` while the file is missing from the repository. */
async function without<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  const aside = join(folder, 'aside')
  await rename(path, aside)
  return work().finally(() => rename(aside, path))
}

/** Does `work` while the file is changed. */
async function withChanged<Result>(
  path: string,
  change: (content: Buffer) => Buffer,
  work: () => Promise<Result>,
): Promise<Result> {
  const content = await readFile(path)
  await writeFile(path, change(Buffer.from(content)))
  return work().finally(() => writeFile(path, content))
}

describe.skipIf(program === undefined)('a restore drill', () => {
  it('brings back all that was acknowledged before the moment and nothing from after it, on a server that sells again', async () => {
    const { findings, rtoSeconds } = await restore()
    expect(findings).toEqual([])
    expect(disaster.acknowledged.length).toBeGreaterThan(100)
    expect(rtoSeconds).toBeGreaterThan(0)
    say(`RPO ${disaster.rpoSeconds.toFixed(1)} s, RTO ${rtoSeconds?.toFixed(1)} s`)
  })

  it('fails where the segment with the moment is missing, also because the server ends on its way there', async () => {
    const path = (await segmentFiles()).find((each) => basename(each).startsWith(disaster.targetSegment)) ?? ''
    const { findings, rtoSeconds } = await without(path, restore)
    expect(findings[0]).toBe(`the archive lacks ${disaster.targetSegment}`)
    expect(findings.join()).toContain('The server ended during recovery')
    expect(rtoSeconds).toBeUndefined()
  })

  it('would find any other segment missing, too, from the first that a backup needs to the last that was archived', async () => {
    const state = await readRepository(disaster.run)
    const first = state.backups[0]?.archiveStart ?? ''
    const needed = (await segmentFiles()).filter((path) => {
      const name = basename(path).slice(0, 24)
      return name >= first && name <= disaster.lastArchived
    })
    expect(needed.length).toBeGreaterThan(3)
    for (const path of needed) {
      const { findings } = await without(path, () => checkContinuity(disaster.run, state, disaster.lastArchived))
      expect(findings).toEqual([`the archive lacks ${basename(path).slice(0, 24)}`])
    }
    expect((await checkContinuity(disaster.run, state, disaster.lastArchived)).findings).toEqual([])
  })

  it('fails where a page of the backup is damaged', async () => {
    const sizes = await Promise.all(
      (await filesWith('F/')).map(async (path) => ({ path, size: (await stat(path)).size })),
    )
    const { path } = sizes.reduce((largest, each) => (each.size > largest.size ? each : largest))
    const { findings, rtoSeconds } = await withChanged(
      path,
      (content) => {
        const middle = Math.floor(content.length / 2)
        content[middle] = (content[middle] ?? 0) ^ 0xff
        return content
      },
      restore,
    )
    expect(findings.join('\n')).toMatch(/backup \S+F is invalid/)
    expect(findings.join('\n')).toMatch(/could not restore: /)
    expect(rtoSeconds).toBeUndefined()
  })

  it('fails where the key is not the one that the repository was made with', async () => {
    const change = (content: Buffer) => Buffer.from(content.toString().replace(/(cipher-pass=).*/, '$1another'))
    const { findings, rtoSeconds } = await withChanged(disaster.configFile, change, restore)
    expect(findings).toEqual([expect.stringContaining("The repository can't be read")])
    expect(rtoSeconds).toBeUndefined()
  })

  it('fails where the newest backup is older than its bound, even if all else is well', async () => {
    const { findings, rtoSeconds } = await restore(1)
    expect(findings).toEqual([expect.stringMatching(/^the newest backup is \d+ s old; 1 s are allowed$/)])
    expect(rtoSeconds).toBeGreaterThan(0)
  })

  it('leaves no process of a server or of pgBackRest behind', async () => {
    expect(processesNaming(folder)).toEqual([])
  })
})
