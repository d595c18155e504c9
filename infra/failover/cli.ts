import { runCommand } from '../local/commands/operator-command.ts'
import { failOver, settle } from './fail-over.ts'
import { reclone } from './reclone.ts'
import { showStatus } from './status.ts'

const USAGE = `npm run failover [-- --dry-run] [--switch]    promotes the replica in place of a primary that is gone: stops that first, for good
npm run failover -- reclone [--dry-run]       copies the primary over the data of the other server, which is a replica from then on
npm run failover -- settle                    publishes the products anew, which a fail-over does itself: where it could not
npm run failover -- status                    what each server is

Acts on the containers of docker-compose.yml, through docker compose, which reads .env and COMPOSE_* as ever. The functions find the new
primary by themselves. A primary that answers is left alone, except with --switch: then the two change places, and nothing is lost.
`

const options = {
  'dry-run': { type: 'boolean', default: false },
  switch: { type: 'boolean', default: false },
} as const

runCommand(
  USAGE,
  options,
  ({ command, values }) => {
    const isDryRun = values['dry-run'] === true
    switch (command) {
      case 'now':
        return () => failOver({ isDryRun, isSwitch: values.switch === true })
      case 'reclone':
        return () => reclone({ isDryRun })
      case 'settle':
        return settle
      case 'status':
        return showStatus
      default:
        throw new Error(`There is no command '${command}'; there are now, reclone, settle and status.`)
    }
  },
  'now',
)
