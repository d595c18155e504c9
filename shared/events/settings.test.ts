import { afterAll, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { eventsSettings } from './settings.ts'

afterAll(() => overrideEnvironment({ EVENTS_URL: undefined }))

function settingsOf(url: string | undefined) {
  overrideEnvironment({ EVENTS_URL: url })
  return eventsSettings()
}

describe('EVENTS_URL', () => {
  it('leads to the log in the database where it is not set', () => {
    expect(settingsOf(undefined)).toEqual({ adapter: 'postgres' })
    expect(settingsOf('postgres:')).toEqual({ adapter: 'postgres' })
  })

  it('names the brokers, and may name a prefix and the partitions of topics that are made', () => {
    const url = 'kafka://one:9092,[::1]:9093'
    const kafka = { adapter: 'kafka', brokers: ['one:9092', '[::1]:9093'] }
    expect(settingsOf(url)).toEqual({ ...kafka, url, prefix: '', partitions: 12 })
    expect(settingsOf(`${url}/?prefix=a.&partitions=3`)).toMatchObject({ ...kafka, prefix: 'a.', partitions: 3 })
  })

  it.each([
    'amqp://one:5672',
    'kafka://',
    'kafka://one',
    'kafka://one:9092,two',
    'kafka://one:9092?partitions=0',
    'kafka://one:9092?prefix=a b',
    'kafka://one:9092?colour=red',
    'kafka://user:secret@one:9092',
  ])('is refused as %s', (url) => {
    expect(() => settingsOf(url)).toThrow('EVENTS_URL: must be postgres:')
  })
})
