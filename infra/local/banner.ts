import { DEVELOPMENT_KEY } from '#access/bootstrap-key'
import type { ServedFunctions } from './serve-functions.ts'

/** The text after a start: the URLs, the key, and three commands to paste. The commands also work a second time. */
export function banner(
  { url, metricsUrl, tracesUrl, functionCount }: ServedFunctions,
  bootstrapApiKey: string,
): string {
  const isDevelopmentKey = bootstrapApiKey === DEVELOPMENT_KEY
  // The user's own key is not printed: terminals and their logs are kept.
  const authorization = isDevelopmentKey
    ? `-H 'Authorization: Bearer ${DEVELOPMENT_KEY}'`
    : '-H "Authorization: Bearer $BOOTSTRAP_API_KEY"'
  const json = "-H 'Content-Type: application/json'"
  const product = `'{"sku":"'"$SKU"'","name":"Try me","initialStock":10}'`
  const reservation = `'{"lines":[{"sku":"'"$SKU"'","quantity":2}]}'`
  return `
  ${functionCount} functions are up.

    API          ${url}
    Docs         ${url}/docs
    OpenAPI      ${url}/openapi.json
    Metrics      ${metricsUrl}${tracesUrl ? '\n    Traces       npm run trace -- <request id | trace id>' : ''}
    Admin key    ${isDevelopmentKey ? `${DEVELOPMENT_KEY} (for development: good for the embedded database only)` : 'your BOOTSTRAP_API_KEY'}

  List products, create one, hold two pieces of it:

curl -s '${url}/v1/products?limit=3' ${authorization}
SKU=try-$(date +%s); curl -s '${url}/v1/products' ${authorization} ${json} -d ${product}
curl -s '${url}/v1/reservations' ${authorization} ${json} -d ${reservation}

  Ctrl-C stops everything; the data is kept.
`
}
