import * as z from 'zod'

type Json = z.core.util.JSONType

/** Any JSON value. The input was already parsed as JSON, so there is nothing to check, however large it is. */
export const anyJson = z.unknown() as unknown as z.ZodType<Json, Json>
