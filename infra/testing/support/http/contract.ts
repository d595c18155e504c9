import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

/** An answer to a request of an operation. `path` is the document's path, with parameters not filled in. */
export interface Answered {
  method: string
  path: string
  status: number
  headers: Headers
  text: string
}

type Json = Record<string, unknown>
interface Described {
  description: string
  headers?: Record<string, { $ref?: string; required?: boolean }>
  content?: Record<string, unknown>
}

/** Headers of HTTP itself, which OpenAPI does not describe. */
const OF_HTTP = new Set(['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'transfer-encoding'])

/** Throws unless the answer is one that the document describes. */
export type CheckAnswer = (answered: Answered) => void

/** Checks answers against only an OpenAPI document, with a validator other than the service's own. */
export function contractOf(document: object): CheckAnswer {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false })
  addFormats.default(ajv)
  ajv.addSchema(document, 'openapi')
  const validators = new Map<string, ValidateFunction>()
  const validatorOf = (pointer: string[]) => {
    const $ref = `openapi#/${pointer.map(escapePointer).join('/')}`
    const known = validators.get($ref) ?? ajv.compile({ $ref })
    validators.set($ref, known)
    return known
  }
  return (answered) => {
    const { method, path, status, text } = answered
    const place = ['paths', path, method.toLowerCase(), 'responses', String(status)]
    const fail = (why: string) => {
      throw new Error(`${method} ${path} answered ${status} ${why}: ${text.slice(0, 2_000)}`)
    }
    const response = at(document as Json, place) as Described | undefined
    if (!response) return fail('which is not described')
    const wrong = wrongHeader(document as Json, response.headers ?? {}, answered.headers)
    if (wrong !== undefined) return fail(wrong)
    if (!response.content) return text === '' ? undefined : fail('with a body')
    const type = answered.headers.get('content-type')?.split(';')[0] ?? ''
    if (!Object.hasOwn(response.content, type)) return fail(`as ${type}, which is not described`)
    const body = isJson(type) ? JSON.parse(text) : text
    const code = status >= 400 && (body as { code?: unknown }).code
    if (typeof code === 'string' && !response.description.includes(`\`${code}\``)) return fail('with another code')
    const validate = validatorOf([...place, 'content', type, 'schema'])
    if (!validate(body)) fail(`which is not as described (${ajv.errorsText(validate.errors)})`)
  }
}

/** Checks problem documents that belong to no operation, such as a router's for an unknown path. */
export function problemsOf(document: object): (problem: unknown) => void {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false })
  addFormats.default(ajv)
  ajv.addSchema(document, 'openapi')
  const { components } = document as { components: { schemas: Record<string, Json> } }
  // Each problem schema lists its codes in its own part.
  const names = Object.keys(components.schemas).filter((name) => 'allOf' in (components.schemas[name] ?? {}))
  const $refs = names.map((name) => ({ $ref: `openapi#/components/schemas/${name}` }))
  const validate = ajv.compile({ oneOf: $refs })
  return (problem) => {
    if (validate(problem)) return
    throw new Error(`This is no problem as described: ${JSON.stringify(problem)} (${ajv.errorsText(validate.errors)})`)
  }
}

/** Returns how the sent headers differ from those in the document, or undefined if they do not. */
function wrongHeader(document: Json, described: NonNullable<Described['headers']>, sent: Headers): string | undefined {
  const names = new Set(Object.keys(described).map((name) => name.toLowerCase()))
  const undescribed = [...sent.keys()].find((name) => !names.has(name) && !OF_HTTP.has(name))
  if (undescribed !== undefined) return `with ${undescribed}, which is not described`
  const missing = Object.entries(described).find(([name, header]) => {
    const { required } = header.$ref
      ? (at(document, header.$ref.slice(2).split('/')) as { required?: boolean })
      : header
    return required && !sent.has(name)
  })
  return missing && `without ${missing[0]}`
}

const isJson = (type: string) => /[/+]json$/.test(type)

const at = (json: Json, pointer: string[]) =>
  pointer.reduce<unknown>((value, name) => (value as Json | undefined)?.[name], json)

const escapePointer = (name: string) => encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'))
