import { invalid, notFound, type Resource } from '#errors'
import { isId } from '#ids'

/** The ids in a path, by parameter. Throws the 404 of the parameter's resource for a value that can't be an id. */
export function validateParams(
  params: Record<string, string>,
  resources: ReadonlyArray<readonly [name: string, resource: Resource]>,
): Record<string, string> {
  const ids: Record<string, string> = {}
  for (const [name, resource] of resources) {
    const value = params[name] ?? ''
    if (!isId(value)) throw notFound(resource, value)
    ids[name] = value.toLowerCase()
  }
  return ids
}

/** The path of an absolute URL: `/v1/products` of `http://host/v1/products?limit=5`. */
export function pathOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('//') + 2)
  const end = url.indexOf('?', start)
  return end === -1 ? url.slice(start) : url.slice(start, end)
}

/** The parameters of a URL's query by name. A parameter that is given twice is an error. */
export function queryOf(url: string): Record<string, string> {
  const query: Record<string, string> = {}
  if (!url.includes('?')) return query
  for (const [name, value] of new URL(url).searchParams) {
    if (Object.hasOwn(query, name)) throw invalid(name, 'is given twice')
    // Assigning this member would set the object's prototype, and no schema would see it.
    if (name === '__proto__') throw invalid(name, 'is not a known member')
    query[name] = value
  }
  return query
}
