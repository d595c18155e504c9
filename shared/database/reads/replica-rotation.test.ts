import { expect, it } from 'vitest'
import { renderMetrics } from '#telemetry'
import { metric } from '#testing/metrics'
import { createRotation } from './replica-rotation.ts'

it('a process that has not decided about the replica says nothing of it, rather than that it is out of rotation', async () => {
  const rotation = createRotation()
  expect(await renderMetrics()).not.toMatch(/^database_replica_in_rotation /m)
  rotation.add()
  expect(await metric('database_replica_in_rotation')).toBe(1)
  rotation.remove('unreachable')
  expect(await metric('database_replica_in_rotation')).toBe(0)
})
