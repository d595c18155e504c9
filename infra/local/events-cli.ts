import { userInfo } from 'node:os'
import { parseArgs } from 'node:util'
import * as z from 'zod'
import { shutDown } from '#async'
import { environment } from '#config'
import { PageQuery, systemContext } from '#database'
import { countRedriven, findDeadEvent, listDeadEvents, redriveDeadEvents } from '#events'
import { DeadEventFilter, RedriveEvents } from '#events/schema'
import { useRunningStack } from './running-stack.ts'
import { readSettings } from './settings.ts'

const USAGE = `npm run events -- dead [--limit N] [--group GROUP] [--topic TOPIC]
                                            events that a group, or the log, has refused and that were not redriven, newest first (50)
npm run events -- redrive ID... | --all     delivers them again to the group that refused them, by the ids of their records
npm run events -- show ID                   a dead event: its data, and when it is delivered again if it was redriven

Works on the stack that npm start has running, or else on DATABASE_URL. What the log refused has no group: it goes back to the outbox.
A redriven event is gone once its group has handled it, and is dead again, with another id, if the group refuses it again.
`

const LIMIT_MAX = 200
const ID_EXAMPLE = '01890a5d-ac96-774b-bcce-b302099a8057'

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

/** The user who is logged in, whose name is logged with what they redrive. */
const operator = () => systemContext(`operator:${userInfo().username}`)

interface Options {
  limit: string
  all: boolean
  group?: string | undefined
  topic?: string | undefined
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      limit: { type: 'string', default: '50' },
      group: { type: 'string' },
      topic: { type: 'string' },
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
function workOf(command: string, ids: string[], { limit, all, group, topic }: Options): () => Promise<void> {
  switch (command) {
    case 'dead': {
      const count = Number(limit)
      if (!(Number.isInteger(count) && count >= 1 && count <= LIMIT_MAX)) {
        throw new Error(`--limit must be a whole number from 1 to ${LIMIT_MAX}.`)
      }
      const { data: filter } = DeadEventFilter.safeParse({ group, topic })
      if (!filter) throw new Error('--group and --topic have 200 characters at most.')
      return () => listDead(count, filter)
    }
    case 'redrive': {
      if (all === ids.length > 0) throw new Error('Say which: the ids of dead events, or --all.')
      const { data: request } = RedriveEvents.safeParse(all ? {} : { ids })
      if (!request) throw new Error(`The ids of dead events look like ${ID_EXAMPLE}; 1,000 at most.`)
      return async () => say(`${await redriveDeadEvents(request, operator())} redriven`)
    }
    case 'show': {
      const [id = ''] = ids
      if (ids.length !== 1) throw new Error('Say which: the id of a dead event.')
      if (!z.guid().safeParse(id).success) throw new Error(`The id of a dead event looks like ${ID_EXAMPLE}.`)
      return () => show(id)
    }
    default:
      throw new Error(`There is no command '${command}'; there are dead, redrive and show.`)
  }
}

async function listDead(limit: number, filter: z.infer<typeof DeadEventFilter>): Promise<void> {
  const { items, nextCursor } = await listDeadEvents({ ...filter, ...PageQuery.parse({ limit }) }, operator())
  for (const { id, group, topic, type, productId, version, attempts, diedAt, error } of items) {
    const event = version === null ? 'no event' : `${type} ${version} of product ${productId}`
    const tried = `${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}, died ${diedAt}`
    say(`${id}  ${group ?? 'the log'}, ${topic}: ${event}, ${tried}`)
    say(`  ${error}`)
  }
  if (items.length === 0) say('none')
  if (nextCursor !== null) say('There are more: --limit, --group, --topic.')
  const redriven = await countRedriven(operator())
  if (redriven > 0) say(`${redriven} redriven and not handled yet`)
}

async function show(id: string): Promise<void> {
  const event = await findDeadEvent(id, operator())
  if (!event)
    throw new Error(`There is no dead event ${id}: it may have been handled, or be dead again under another id.`)
  say(JSON.stringify(event, null, 2))
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
