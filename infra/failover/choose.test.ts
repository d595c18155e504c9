import { describe, expect, it } from 'vitest'
import { chooseChange } from './choose.ts'
import type { ServerState } from './servers.ts'

const one = (role: ServerState['role'], timeline = 0, offset = 0): ServerState => ({
  server: 'postgres-primary',
  role,
  timeline,
  offset,
})
const other = (role: ServerState['role'], timeline = 0, offset = 0): ServerState => ({
  ...one(role, timeline, offset),
  server: 'postgres-replica',
})

describe('a fail-over', () => {
  it.each(['stopped', 'silent'] as const)('promotes the replica of a primary that is %s', (role) => {
    const [from, to] = [one(role), other('replica', 1, 10)]
    expect(chooseChange([from, to], false)).toEqual({ from, to })
  })

  it('is back to the first server where that is the replica', () => {
    const [to, from] = [one('replica', 2, 10), other('stopped')]
    expect(chooseChange([to, from], false)).toEqual({ from, to })
  })

  it('leaves a primary alone that answers, unless it is told to switch', () => {
    const states = [one('primary', 1, 10), other('replica', 1, 10)]
    expect(() => chooseChange(states, false)).toThrow('postgres-primary takes writes, so nothing is done')
    expect(chooseChange(states, true)).toEqual({ from: states[0], to: states[1] })
  })

  it('promotes the one with more of the log where both were stopped before one was promoted, whatever is longer on an older timeline', () => {
    expect(chooseChange([one('replica', 1, 20), other('replica', 1, 10)], false).to.server).toBe('postgres-primary')
    expect(chooseChange([one('replica', 1, 20), other('replica', 2, 10)], false).to.server).toBe('postgres-replica')
  })

  it.each([
    ['there are two primaries', [one('primary', 1, 1), other('primary', 2, 1)], false, 'Two servers take writes'],
    ['no replica answers', [one('stopped'), other('silent')], false, 'No replica answers'],
    ['a switch has no replica', [one('primary', 1, 1), other('stopped')], true, 'No replica answers'],
    ['a switch has no primary', [one('silent'), other('replica', 1, 1)], true, 'no primary that answers'],
  ])('is refused where %s', (_, states, isSwitch, message) => {
    expect(() => chooseChange(states, isSwitch)).toThrow(message)
  })
})
