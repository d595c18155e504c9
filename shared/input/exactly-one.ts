import type * as z from 'zod'

/**
 * An object that has exactly one of some members. One schema with a check, not a union: a client learns of everything that is wrong at
 * once, by its path. The description has it as the union that it is.
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
