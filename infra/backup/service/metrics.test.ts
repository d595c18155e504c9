import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { renderMetrics } from '#telemetry'
import { expectRepositories, noteDrill } from './metrics.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] })
})
afterEach(() => {
  expectRepositories([])
  vi.useRealTimers()
})

const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000)
const ages = async () =>
  [...(await renderMetrics()).matchAll(/^backup_drill_age_seconds\{repository="(\d)"\} (\S+)$/gm)].map(
    ([, repository, age]) => [repository, Number(age)],
  )

it('a repository that was never drilled is as long without as the process knows of it', async () => {
  expectRepositories([1])
  pass(86_400)
  expectRepositories([1, 2])
  pass(100)
  expect(await ages()).toEqual([
    ['1', 86_500],
    ['2', 100],
  ])
})

it('a drill that succeeds proves its repository, and one that fails proves nothing', async () => {
  expectRepositories([1, 2])
  pass(1_000)
  noteDrill(1, true)
  noteDrill(2, false)
  pass(10)
  expect(await ages()).toEqual([
    ['1', 10],
    ['2', 1_010],
  ])
})

it('a repository that is no longer there is forgotten', async () => {
  expectRepositories([1, 2])
  expectRepositories([2])
  expect(await ages()).toEqual([['2', 0]])
})
