import { afterEach, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { ConfigError, environment, integerSetting, overrideEnvironment, readConfig } from './index.ts'

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
