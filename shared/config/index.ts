import type * as z from 'zod'
import { decimalInteger } from '#input'

const overrides: Record<string, string | undefined> = {}

/** Settings that stand in for environment variables of this process: how the local stack hands its URLs to the functions. */
export function overrideEnvironment(values: Record<string, string | undefined>): void {
  Object.assign(overrides, values)
}

/** The environment as it counts: overrides first, and an empty variable is an absent one. */
export function environment(): Record<string, string | undefined> {
  const merged = { ...process.env, ...overrides }
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined && value !== ''))
}

/** A setting that is missing or unfit; its message names every one of them, a line each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Reads the part of the environment that `schema` describes. Throws a ConfigError that names every bad variable. */
export function readConfig<Schema extends z.ZodObject>(schema: Schema): z.infer<Schema> {
  const parsed = schema.safeParse(environment())
  if (parsed.success) return parsed.data
  throw new ConfigError(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n'))
}

/** A whole number in an environment variable, with its bounds. */
export function integerSetting(bounds: { min: number; max: number; default: number }) {
  return decimalInteger(bounds).default(bounds.default)
}
