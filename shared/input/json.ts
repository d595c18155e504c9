import { ServiceError } from '#errors'
import { findFault } from './scan.ts'

/**
 * What a JSON text from outside says. Throws `malformed_json`, or `validation_failed` for what no schema sees: a member that
 * schemas skip, a number that would not be kept, and what is nested too deeply or has too many members to be looked at.
 */
export function parseJson(text: string): unknown {
  const fault = findFault(text)
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
