import * as z from 'zod'

export type Json = Record<string, unknown>

/** How a schema is written into the document: one that has an id as a reference. */
export type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => Json

export const reference = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })

/** A schema as JSON Schema, with those that have an id hoisted into `components`. */
export function toSchema(schema: z.ZodType, io: 'input' | 'output', components: Json): Json {
  // Wrapped, so that a root that has an id becomes a reference as well.
  const { $defs = {}, properties } = z.toJSONSchema(z.object({ root: schema }), {
    io,
    unrepresentable: 'any',
    override(context) {
      if (io === 'output') keepOpen(context)
      dropPattern(context)
    },
  })
  const relocate = (json: unknown) => JSON.parse(JSON.stringify(json).replaceAll('"#/$defs/', '"#/components/schemas/'))
  for (const [id, definition] of Object.entries($defs)) {
    const { id: _, ...rest } = definition
    components[id] ??= relocate(rest)
  }
  return relocate(properties?.root ?? {})
}

interface Written {
  zodSchema: z.core.$ZodTypes
  jsonSchema: z.core.JSONSchema.BaseSchema
}

/** What a format says, its pattern says again, and some generated clients then try to match it with a time that they have parsed. */
function dropPattern({ jsonSchema }: Written): void {
  if (jsonSchema.format !== undefined) delete jsonSchema.pattern
}

/** What is answered may get members that an old client does not know: a schema that forbids them would break it. */
function keepOpen({ zodSchema, jsonSchema }: Written): void {
  const { def } = zodSchema._zod
  if (def.type === 'object' && def.catchall === undefined) delete jsonSchema.additionalProperties
}
