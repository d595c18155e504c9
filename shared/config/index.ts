import type * as z from 'zod'
import { decimalInteger } from '#input'

const overrides: Record<string, string | undefined> = {}

/** The number of overrides so far: settings that were read before the last override are read again. */
let generation = 0

/** Overrides environment variables of this process. The local stack passes its URLs to the functions this way. */
export function overrideEnvironment(values: Record<string, string | undefined>): void {
  Object.assign(overrides, values)
  generation++
}

/** The environment with the overrides. An empty variable counts as absent. */
export function environment(): Record<string, string | undefined> {
  const merged = { ...process.env, ...overrides }
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined && value !== ''))
}

/** Missing or invalid settings. The message names each of them, one per line. */
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
 * The settings of one module, as a function that reads them once, and again after an override. `derive` turns the variables into the settings that
 * the module needs. The function throws a ConfigError: call it at the start of the process, so that invalid settings fail the start.
 *
 * @example
 * export const stockSettings = defineSettings(z.object({ HOLD_MAX_SECONDS: integerSetting({ min: 1, max: 86_400, default: 900 }) }))
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

/** The schema of a whole number in an environment variable. */
export function integerSetting(bounds: { min: number; max: number; default: number }) {
  return decimalInteger(bounds).default(bounds.default)
}
