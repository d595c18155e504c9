import { afterEach, describe, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { ConfigError, defineSettings, environment, integerSetting, overrideEnvironment, readConfig } from './index.ts'

afterEach(() => overrideEnvironment({ TEST_A: undefined, TEST_B: undefined }))

describe('the environment', () => {
  it('takes an override before the variable of the process, and an empty one for an absent one', () => {
    const [name] = Object.keys(environment()).filter((candidate) => candidate === 'PATH')
    expect(name).toBe('PATH')
    overrideEnvironment({ PATH: 'overridden', TEST_A: '' })
    expect(environment().PATH).toBe('overridden')
    expect('TEST_A' in environment()).toBe(false)
    overrideEnvironment({ PATH: undefined })
    expect(environment().PATH).toBeUndefined()
  })
})

describe('readConfig', () => {
  const schema = z.object({ TEST_A: integerSetting({ min: 1, max: 9, default: 5 }), TEST_B: z.string().optional() })

  it('gives the settings as what they are, and defaults where there are none', () => {
    expect(readConfig(schema)).toEqual({ TEST_A: 5 })
    overrideEnvironment({ TEST_A: '7', TEST_B: 'x' })
    expect(readConfig(schema)).toEqual({ TEST_A: 7, TEST_B: 'x' })
  })

  it.each(['0', '10', '1.5', 'x', '1e9', '-1'])('refuses a number out of bounds: %s', (value) => {
    overrideEnvironment({ TEST_A: value })
    expect(() => readConfig(schema)).toThrow(ConfigError)
  })

  it('names everything that is wrong, a line each', () => {
    overrideEnvironment({ TEST_A: 'x' })
    const both = z.object({ TEST_A: integerSetting({ min: 1, max: 9, default: 5 }), TEST_B: z.string() })
    expect(() => readConfig(both)).toThrow(/^TEST_A: .+\nTEST_B: .+$/)
  })
})

describe('settings', () => {
  it('are read once, and again after an override', () => {
    const derive = vi.fn(({ TEST_A }: { TEST_A: number }) => TEST_A + 1)
    const settings = defineSettings(z.object({ TEST_A: integerSetting({ min: 1, max: 9, default: 5 }) }), derive)
    expect([settings(), settings(), derive.mock.calls.length]).toEqual([6, 6, 1])
    overrideEnvironment({ TEST_A: '7' })
    expect([settings(), settings(), derive.mock.calls.length]).toEqual([8, 8, 2])
  })

  it('that are unfit are refused each time that they are asked for', () => {
    const settings = defineSettings(z.object({ TEST_B: z.string() }))
    expect(settings).toThrow(ConfigError)
    expect(settings).toThrow(ConfigError)
    overrideEnvironment({ TEST_B: 'x' })
    expect(settings()).toEqual({ TEST_B: 'x' })
  })
})
