import * as z from 'zod'
import { readConfig } from '#config'

const settingsSchema = z.object({
  /** 1 lets webhooks lead to private addresses: for receivers on the service's own network. Anything else does not. */
  WEBHOOK_ALLOW_PRIVATE: z.string().optional(),
})

export function allowsPrivate(): boolean {
  return readConfig(settingsSchema).WEBHOOK_ALLOW_PRIVATE === '1'
}
