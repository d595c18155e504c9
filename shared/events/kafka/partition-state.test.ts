import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import type { Progress } from '../delivery/progress.ts'
import { toOffset, toProgress } from './partition-state.ts'

const heads = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ key: randomUUID(), position: 1_000_000 + index, attempts: 9 }))

it.each<[string, Progress]>([
  ['nothing waits', { position: 41, attempts: 0, ahead: null }],
  ['nothing was read', { position: -1, attempts: 0, ahead: null }],
  ['the next event was tried', { position: 41, attempts: 3, ahead: null }],
  ['as many wait as may', { position: 999_999, attempts: 9, ahead: { passed: 9_999_999, waiting: heads(50) } }],
])('an offset and its metadata have the progress where %s', (_, progress) => {
  const { offset, metadata } = toOffset(progress)
  expect(Buffer.byteLength(metadata)).toBeLessThanOrEqual(4_096)
  expect(toProgress(offset, metadata)).toEqual(progress)
})

it('an offset has no more metadata than Kafka takes where a whole batch waits', () => {
  const { offset, metadata } = toOffset({
    position: 999_999,
    attempts: 9,
    ahead: { passed: 2_000_000, waiting: heads(1_000) },
  })
  expect(toProgress(offset, metadata)).toEqual({ position: 999_999, attempts: 9, ahead: null })
})

it('an offset of an older version, or of another tool, is read', () => {
  expect(toProgress('42', 'attempts=3')).toEqual({ position: 41, attempts: 3, ahead: null })
  expect(toProgress('42', 'moved by hand')).toEqual({ position: 41, attempts: 0, ahead: null })
})
