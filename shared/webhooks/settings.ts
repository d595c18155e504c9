import * as z from 'zod'
import { defineSettings } from '#config'

const settingsSchema = z.object({
  /** 1 allows webhooks to private addresses, for receivers on the service's own network. Any other value forbids them. */
  WEBHOOK_ALLOW_PRIVATE: z.string().optional(),
})

export const allowsPrivate = defineSettings(settingsSchema, (settings) => settings.WEBHOOK_ALLOW_PRIVATE === '1')
