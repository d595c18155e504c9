import { cutText, invalid, ServiceError } from '#errors'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

const missing = {
  productId: ['product_not_found', 'product'],
  reservationId: ['reservation_not_found', 'reservation'],
  jobId: ['job_not_found', 'job'],
  webhookId: ['webhook_not_found', 'webhook'],
  apiKeyId: ['api_key_not_found', 'API key'],
} as const

/** Path parameters, which are all ids. One that can't be an id names nothing: 404, as for any other missing thing. */
export function validateParams(params: Record<string, string>): Record<string, string> {
  const ids: Record<string, string> = {}
  for (const name in params) {
    const value = params[name] ?? ''
    if (!UUID.test(value)) {
      const [code, noun] = missing[name as keyof typeof missing] ?? ['not_found', 'thing']
      throw new ServiceError(code, `There is no ${noun} with the id '${cutText(value, 64)}'.`)
    }
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

/** The parameters of a URL's query by name. One given twice is an error rather than a guess. */
export function queryOf(url: string): Record<string, string> {
  const query: Record<string, string> = {}
  if (!url.includes('?')) return query
  for (const [name, value] of new URL(url).searchParams) {
    if (Object.hasOwn(query, name)) throw invalid(name, 'is given twice')
    // As a name of a member it would set what the others come from, and no schema would see it.
    if (name === '__proto__') throw invalid(name, 'is not a known member')
    query[name] = value
  }
  return query
}
