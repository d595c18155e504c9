import { ServiceError } from '#errors'
import { findFault, VALUES_MAX } from './scan.ts'

/**
 * Parses a JSON text from outside. Throws `malformed_json`, or `validation_failed` for faults that no schema would see: a member that schemas skip,
 * a number that would lose digits, values that are nested too deeply, or more elements and members than 10,000 or `valuesMax`.
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
