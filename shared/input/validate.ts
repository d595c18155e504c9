import type * as z from 'zod'
import { type Issue, ServiceError } from '#errors'

/** The input, parsed by `schema`. Throws `validation_failed` with every issue, at most 100. */
export function validate<Schema extends z.ZodType>(schema: Schema, input: unknown): z.infer<Schema> {
  const parsed = parse(schema, input)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.flatMap(toIssues).slice(0, 100)
  const [first] = issues
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
  throw new ServiceError('validation_failed', `${first?.path || 'the input'}: ${first?.message}${more}`, { issues })
}

/**
 * Zod also reads the `length` of values that are neither text nor list, and throws if it can't be compared, as in `{"length":{"toString":0}}`.
 * Without such a member, the same input is refused for its real fault.
 */
function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.ZodSafeParseResult<z.infer<Schema>> {
  try {
    return schema.safeParse(input)
  } catch (error) {
    const hasOddLength = (key: string, value: unknown) => key === 'length' && typeof value === 'object'
    const parsed = schema.safeParse(
      JSON.parse(JSON.stringify(input), (key, value) => (hasOddLength(key, value) ? undefined : value)),
    )
    if (parsed.success) throw error
    return parsed
  }
}

/** Zod names the object that has unknown members; clients need the names of the members. */
function toIssues(issue: z.core.$ZodIssue): Issue[] {
  const path = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key].join('.'), message: 'is not a known member' }))
  }
  return [{ path: path.join('.'), message: issue.message }]
}
