import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import * as z from 'zod'
import { defineSettings } from '#config'

/** A process's own name and version, used if no variable names it. */
export interface Service {
  name: string
  version?: string | undefined
}

/** The schema of percent-encoded pairs such as `key=value,key=value`, the form of the standard variables for attributes and for headers. */
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

/** The id of this process. A host's name is not enough: a host may have several processes of a function. */
const instanceId = randomUUID()

/** The attributes of a process in each span and each log record. The standard variables take precedence. Throws a ConfigError. */
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

/** Undefined if the text does not consist of such pairs. A value may contain a `=`, as in base64. */
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
