import { userInfo } from 'node:os'
import { parseArgs } from 'node:util'
import * as z from 'zod'
import { shutDown } from '#async'
import { environment } from '#config'
import { PageQuery, systemContext } from '#database'
import { getJob, listDeadLetters, redriveDeadLetters } from '#jobs'
import { RedriveRequest } from '#jobs/schema'
import { useRunningStack } from './running-stack.ts'
import { readSettings } from './settings.ts'

const USAGE = `npm run jobs -- dead [--limit N]            jobs that have died and were not redriven, newest first (50)
npm run jobs -- redrive ID... | --all       queues them again, by the ids of their dead letters, under their own
npm run jobs -- show JOB_ID                 a job: its state, attempts, progress, result, last error

Works on the stack that npm start has running, or else on DATABASE_URL. A redriven job's dead letter stays, with who redrove it. Where
the functions have a JOBS_URL, give it here too: without it the broker hears of what was redriven a minute later.
`

const LIMIT_MAX = 200
const ID_EXAMPLE = '01890a5d-ac96-774b-bcce-b302099a8057'

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

/** The user who is logged in, whose name is kept with what they redrive. */
const operator = () => systemContext(`operator:${userInfo().username}`)

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      limit: { type: 'string', default: '50' },
      all: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [command, ...ids] = positionals
  if (values.help || command === undefined) {
    process.stdout.write(USAGE)
    process.exitCode = values.help ? 0 : 1
    return
  }
  const work = workOf(command, ids, values)
  const { dataDir, databaseUrl } = readSettings(environment(), { usesKey: false })
  if (!(await useRunningStack(dataDir)) && !databaseUrl) {
    throw new Error('No stack runs here: start one with npm start, or set DATABASE_URL.')
  }
  try {
    await work()
  } finally {
    await shutDown()
  }
}

/** Parses a command. Throws for an invalid one, before it connects to anything. */
function workOf(command: string, ids: string[], { limit, all }: { limit: string; all: boolean }): () => Promise<void> {
  switch (command) {
    case 'dead': {
      const count = Number(limit)
      if (!(Number.isInteger(count) && count >= 1 && count <= LIMIT_MAX)) {
        throw new Error(`--limit must be a whole number from 1 to ${LIMIT_MAX}.`)
      }
      return () => listDead(count)
    }
    case 'redrive': {
      if (all === ids.length > 0) throw new Error('Say which: the ids of dead letters, or --all.')
      const { data: request } = RedriveRequest.safeParse(all ? {} : { ids })
      if (!request) throw new Error(`The ids of dead letters look like ${ID_EXAMPLE}; 1,000 at most.`)
      return async () => say(`${await redriveDeadLetters(request, operator())} redriven`)
    }
    case 'show': {
      const [id = ''] = ids
      if (ids.length !== 1) throw new Error('Say which: the id of a job.')
      if (!z.guid().safeParse(id).success) throw new Error(`The id of a job looks like ${ID_EXAMPLE}.`)
      return async () => say(JSON.stringify(await getJob(id, operator()), null, 2))
    }
    default:
      throw new Error(`There is no command '${command}'; there are dead, redrive and show.`)
  }
}

async function listDead(limit: number): Promise<void> {
  const { items, nextCursor } = await listDeadLetters(PageQuery.parse({ limit }), operator())
  for (const { id, jobId, type, attempts, diedAt, error } of items) {
    say(`${id}  job ${jobId}  ${type}, ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}, died ${diedAt}`)
    say(`  ${error}`)
  }
  if (items.length === 0) say('none')
  if (nextCursor !== null) say(`There are more than ${limit}: --limit.`)
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
