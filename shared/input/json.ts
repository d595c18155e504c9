import { ServiceError } from '#errors'
import { findFault, VALUES_MAX } from './scan.ts'

/**
 * Parses a JSON text from outside. Throws `malformed_json`, or `validation_failed` for what no schema would see: a member that
 * schemas skip, a number that would lose digits, and values that are nested too deeply or have too many elements and members: 10,000, or `valuesMax`.
 */
export function parseJson(text: string, valuesMax: number = VALUES_MAX): unknown {
  const fault = findFault(text, valuesMax)
  if (!fault) return parse(text)
  const path = fault.path.join('.')
  const issues = [{ path, message: fault.message }]
  throw new ServiceError('validation_failed', `${path || 'The input'} ${fault.message}.`, { issues })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ServiceError('malformed_json', `This is not JSON: ${(error as Error).message}.`)
  }
}
