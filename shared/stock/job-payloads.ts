import * as z from 'zod'
import { resultFormats } from '#jobs/schema'

/** The payload of `export-stock`. */
export const ExportPayload = z.strictObject({ format: z.enum(resultFormats).default('csv') })

/** The payload of `verify-ledger`. */
export const VerifyPayload = z.strictObject({})
