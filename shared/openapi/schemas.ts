import * as z from 'zod'
import { explainMembers } from './words.ts'

export type Json = Record<string, unknown>

/** Writes a schema into the document, as a reference if it has an id. */
export type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => Json

export const reference = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })

/** A schema as JSON Schema. Schemas that have an id are moved into `components`. */
export function toSchema(schema: z.ZodType, io: 'input' | 'output', components: Json): Json {
  // Wrapped, so that a root with an id becomes a reference as well.
  const { $defs = {}, properties } = z.toJSONSchema(z.object({ root: schema }), {
    io,
    unrepresentable: 'any',
    override(context) {
      if (io === 'output') keepOpen(context)
      dropPattern(context)
      splitAlternatives(context)
    },
  })
  const relocate = (json: unknown) => {
    const copy = JSON.parse(JSON.stringify(json).replaceAll('"#/$defs/', '"#/components/schemas/'))
    explainMembers(copy)
    return copy
  }
  for (const [id, definition] of Object.entries($defs)) {
    const { id: _, ...rest } = definition
    const written = relocate(rest)
    components[id] ??= written
    nameAlternatives(written, components)
    if (JSON.stringify(components[id]) !== JSON.stringify(written)) throw new Error(`There are two schemas ${id}`)
  }
  return relocate(properties?.root ?? {})
}

interface Written {
  zodSchema: z.core.$ZodTypes
  jsonSchema: z.core.JSONSchema.BaseSchema
}

/** A format's pattern repeats the format, and some generated clients match the pattern against a time that they have already parsed. */
function dropPattern({ jsonSchema }: Written): void {
  if (jsonSchema.format !== undefined) delete jsonSchema.pattern
}

/** Writes an object that has exactly one of some members (`exactlyOne`) as a choice between as many objects. */
function splitAlternatives({ zodSchema, jsonSchema }: Written): void {
  const names = jsonSchema.exactlyOneOf as string[] | undefined
  if (!names) return
  const { exactlyOneOf: _, type, properties = {}, required = [], additionalProperties, ...rest } = jsonSchema
  const id = z.globalRegistry.get(zodSchema)?.id
  const alternatives = names.map((name) => {
    const others = Object.entries(properties).filter(([other]) => other === name || !names.includes(other))
    const title = id && `${id}By${name.charAt(0).toUpperCase()}${name.slice(1)}`
    return {
      ...(title && { title }),
      type,
      properties: Object.fromEntries(others),
      required: [name, ...required],
      additionalProperties,
    }
  })
  for (const key of Object.keys(jsonSchema)) delete jsonSchema[key]
  Object.assign(jsonSchema, rest, { oneOf: alternatives })
}

/** Makes alternatives with a title schemas of that name, since generated clients would otherwise number them. */
function nameAlternatives(written: Json, components: Json): void {
  if (!Array.isArray(written.oneOf)) return
  written.oneOf = (written.oneOf as Json[]).map((alternative) => {
    const { title, ...schema } = alternative
    if (typeof title !== 'string') return alternative
    components[title] = schema
    return reference(title)
  })
}

/** Answers may get new members. A schema that forbids unknown members would break old clients. */
function keepOpen({ zodSchema, jsonSchema }: Written): void {
  const { def } = zodSchema._zod
  if (def.type === 'object' && def.catchall === undefined) delete jsonSchema.additionalProperties
}
