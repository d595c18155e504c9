import type * as z from 'zod'
import { type Issue, ServiceError } from '#errors'

/** The input, parsed by `schema`. Throws `validation_failed` with every issue, 100 at most. */
export function validate<Schema extends z.ZodType>(schema: Schema, input: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.flatMap(toIssues).slice(0, 100)
  const [first] = issues
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
  throw new ServiceError('validation_failed', `${first?.path || 'the input'}: ${first?.message}${more}`, { issues })
}

/** Zod names the object with unknown members; clients need the members. */
function toIssues(issue: z.core.$ZodIssue): Issue[] {
  const path = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key].join('.'), message: 'is not a known member' }))
  }
  return [{ path: path.join('.'), message: issue.message }]
}
