import type { ServerState } from './servers.ts'

/** The server that gives up its place, and the server that takes it. */
export interface Change {
  from: ServerState
  to: ServerState
}

/** Chooses a fail-over; with `isSwitch`, also from a healthy primary. If none is possible or needed, throws an error that says what to do. */
export function chooseChange(states: readonly ServerState[], isSwitch: boolean): Change {
  const primaries = states.filter(({ role }) => role === 'primary')
  const replicas = states.filter(({ role }) => role === 'replica')
  const [primary] = primaries
  if (primaries.length > 1) {
    throw new Error(
      'Two servers take writes. The older one notices within seconds, and stops: look again with npm run failover -- status.',
    )
  }
  if (primary && !isSwitch) {
    throw new Error(
      `${primary.server} takes writes, so nothing is done. To have the two change places: npm run failover -- --switch.`,
    )
  }
  if (!primary && isSwitch)
    throw new Error('There is no primary that answers, and so nothing to switch. To replace it: npm run failover.')
  // Of two stopped servers on the same timeline, the one with more WAL has lost less.
  const [to] = replicas.sort((a, b) => b.timeline - a.timeline || b.offset - a.offset)
  if (!to) {
    throw new Error('No replica answers that could be promoted. Start it (docker compose up -d), or restore a backup.')
  }
  const from = states.find((state) => state !== to)
  if (!from) throw new Error('There is one server only.')
  return { from, to }
}
