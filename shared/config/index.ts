import type * as z from 'zod'
import { decimalInteger } from '#input'

const overrides: Record<string, string | undefined> = {}

/** How often the environment has been overridden: what was read before then is read anew. */
let generation = 0

/** Settings that stand in for environment variables of this process: how the local stack hands its URLs to the functions. */
export function overrideEnvironment(values: Record<string, string | undefined>): void {
  Object.assign(overrides, values)
  generation++
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

/**
 * The settings of one module, as a function that reads them once, and again after an override. `derive` makes of the variables what the
 * module wants to know. The function throws a ConfigError: call it at the start, to fail then rather than later.
 */
export function defineSettings<Schema extends z.ZodObject, Settings = z.infer<Schema>>(
  schema: Schema,
  derive = (variables: z.infer<Schema>) => variables as Settings,
): () => Settings {
  let last: { settings: Settings; generation: number } | undefined
  return () => {
    if (last?.generation !== generation) last = { settings: derive(readConfig(schema)), generation }
    return last.settings
  }
}

/** A whole number in an environment variable, with its bounds. */
export function integerSetting(bounds: { min: number; max: number; default: number }) {
  return decimalInteger(bounds).default(bounds.default)
}
