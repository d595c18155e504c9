import type * as z from 'zod'

/**
 * An object that has exactly one of some members. It is one schema with a check instead of a union, so that a client gets all issues at once, each
 * with its path. The OpenAPI document shows it as a union.
 */
export function exactlyOne<Shape extends z.core.$ZodShape, Config extends z.core.$ZodObjectConfig>(
  schema: z.ZodObject<Shape, Config>,
  ...names: ReadonlyArray<keyof Shape & string>
) {
  const count = (object: object) =>
    names.filter((name) => (object as Record<string, unknown>)[name] !== undefined).length
  return schema
    .refine((object) => count(object) === 1, `must name either ${names.join(' or ')}`)
    .meta({ exactlyOneOf: names })
}
