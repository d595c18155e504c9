import * as z from 'zod'
import { PageQuery } from '#database'
import { getJob, listDeadLetters, redriveDeadLetters } from '#jobs'
import { RedriveRequest } from '#jobs/schema'
import { ID_EXAMPLE, limitOf, operator, runOperatorCommand, say } from './operator-command.ts'

const USAGE = `npm run jobs -- dead [--limit N]            jobs that have died and were not redriven, newest first (50)
npm run jobs -- redrive ID... | --all       queues them again, by the ids of their dead letters, under their own
npm run jobs -- show JOB_ID                 a job: its state, attempts, progress, result, last error

Works on the stack that npm start has running, or else on DATABASE_URL. A redriven job's dead letter stays, with who redrove it. Where
the functions have a JOBS_URL, give it here too: without it the broker hears of what was redriven a minute later.
`

const options = { limit: { type: 'string', default: '50' }, all: { type: 'boolean', default: false } } as const

runOperatorCommand(USAGE, options, ({ command, ids, values: { limit, all } }) => {
  switch (command) {
    case 'dead': {
      const count = limitOf(limit)
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
})

async function listDead(limit: number): Promise<void> {
  const { items, nextCursor } = await listDeadLetters(PageQuery.parse({ limit }), operator())
  for (const { id, jobId, type, attempts, diedAt, error } of items) {
    say(`${id}  job ${jobId}  ${type}, ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}, died ${diedAt}`)
    say(`  ${error}`)
  }
  if (items.length === 0) say('none')
  if (nextCursor !== null) say(`There are more than ${limit}: --limit.`)
}
