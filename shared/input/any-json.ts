import * as z from 'zod'

type Json = z.core.util.JSONType

/** Whatever JSON has. What is checked with it was parsed as JSON, so there is nothing left to look at, however large it is. */
export const anyJson = z.unknown() as unknown as z.ZodType<Json, Json>
