import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import * as z from 'zod'
import { defineSettings } from '#config'

/** A process, as it calls itself where no variable names it. */
export interface Service {
  name: string
  version?: string | undefined
}

/** The schema of pairs such as `key=value,key=value`, percent-encoded, as the standard variables of attributes and of headers have them. */
export const pairsSetting = z
  .string()
  .default('')
  .transform((text, context) => {
    const pairs = pairsIn(text)
    if (pairs) return pairs
    context.addIssue('must be pairs such as key=value,key=value, percent-encoded')
    return z.NEVER
  })

const settings = defineSettings(
  z.object({ OTEL_SERVICE_NAME: z.string().optional(), OTEL_RESOURCE_ATTRIBUTES: pairsSetting }),
)

/** Of this process. A host's name is none: it may have several processes of a function. */
const instanceId = randomUUID()

/** What a process says of itself in each span and each log record. The standard variables come first. Throws a ConfigError. */
export function resourceOf({ name, version }: Service): Record<string, string> {
  const { OTEL_SERVICE_NAME: named, OTEL_RESOURCE_ATTRIBUTES: given } = settings()
  return {
    'service.name': name,
    'service.instance.id': instanceId,
    'host.name': hostname(),
    ...(version && { 'service.version': version }),
    ...given,
    ...(named && { 'service.name': named }),
  }
}

/** Undefined where the text is no such pairs. A value may have a `=` of its own, as one in base64 has. */
function pairsIn(text: string): Record<string, string> | undefined {
  const pairs = text.split(',').filter((pair) => pair.trim() !== '')
  if (!pairs.every((pair) => /^\s*[^=\s]+\s*=/.test(pair))) return undefined
  try {
    return Object.fromEntries(
      pairs.map((pair) => {
        const at = pair.indexOf('=')
        return [decodeURIComponent(pair.slice(0, at).trim()), decodeURIComponent(pair.slice(at + 1).trim())]
      }),
    )
  } catch {
    return undefined
  }
}
