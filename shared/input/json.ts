import { invalid, ServiceError } from '#errors'

/** Deeper input is refused: nothing here is that deep, and recursion over it must end. */
const JSON_DEPTH_MAX = 32

/**
 * What a JSON text from outside says. Throws `malformed_json`, or `validation_failed` for what no schema sees: a member that
 * schemas skip, and what is nested too deeply for them.
 */
export function parseJson(text: string): unknown {
  const json = parse(text)
  const skipped = findSkipped(json, 0)
  if (skipped) throw invalid(skipped.join('.'), 'is not a known member')
  return json
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ServiceError('malformed_json', `This is not JSON: ${(error as Error).message}.`)
  }
}

/** Schemas skip a member of this name without a word, so that nobody's prototype is set by accident: it would be lost. */
const SKIPPED = '__proto__'

/** The path to a member that schemas skip, if there is one. Throws `validation_failed` for what is nested too deeply. */
function findSkipped(json: unknown, depth: number): string[] | undefined {
  if (typeof json !== 'object' || json === null) return undefined
  if (depth === JSON_DEPTH_MAX) {
    const message = `is nested more than ${JSON_DEPTH_MAX} levels deep`
    throw new ServiceError('validation_failed', `The input ${message}.`, { issues: [{ path: '', message }] })
  }
  for (const name of Object.keys(json)) {
    if (name === SKIPPED) return [name]
    const path = findSkipped((json as Record<string, unknown>)[name], depth + 1)
    if (path) return [name, ...path]
  }
  return undefined
}
