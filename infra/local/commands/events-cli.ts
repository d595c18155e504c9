import * as z from 'zod'
import { PageQuery } from '#database'
import { countRedriven, findDeadEvent, listDeadEvents, redriveDeadEvents } from '#events'
import { DeadEventFilter, RedriveEvents } from '#events/schema'
import { ID_EXAMPLE, limitOf, operator, runOperatorCommand, say } from './operator-command.ts'

const USAGE = `npm run events -- dead [--limit N] [--group GROUP] [--topic TOPIC]
                                            events that a group, or the log, has refused and that were not redriven, newest first (50)
npm run events -- redrive ID... | --all     delivers them again to the group that refused them, by the ids of their records
npm run events -- show ID                   a dead event: its data, and when it is delivered again if it was redriven

Works on the stack that npm start has running, or else on DATABASE_URL. What the log refused has no group: it goes back to the outbox.
A redriven event is gone once its group has handled it, and is dead again, with another id, if the group refuses it again.
`

const options = {
  limit: { type: 'string', default: '50' },
  group: { type: 'string' },
  topic: { type: 'string' },
  all: { type: 'boolean', default: false },
} as const

runOperatorCommand(USAGE, options, ({ command, ids, values: { limit, group, topic, all } }) => {
  switch (command) {
    case 'dead': {
      const count = limitOf(limit)
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
})

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
