import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { noteAccess } from '#function/access-log'
import { type Exchange, send } from '../exchange.ts'
import type { Route } from '../route.ts'

/** The files of swagger-ui-dist that the page needs. No others are served. The build copies them to `docs/` beside the bundle. */
export const docsAssets: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
}

/** The folder of these files: `docs/` beside the bundle if it exists, else the installed package. */
export function docsFolder(): URL {
  const beside = new URL('docs/', import.meta.url)
  if (existsSync(fileURLToPath(beside))) return beside
  const manifest = createRequire(import.meta.url).resolve('swagger-ui-dist/package.json')
  return new URL('.', pathToFileURL(manifest))
}

/** The API reference at `/docs`, from local files alone. */
export function docsRoutes(title: string): Route[] {
  const page = document('text/html; charset=utf-8', Buffer.from(pageOf(title)))
  const start = document('text/javascript; charset=utf-8', Buffer.from(START))
  const assets = Object.entries(docsAssets).map(([name, type]): Route => {
    let loading: Promise<Document> | undefined
    const load = () => readFile(new URL(name, docsFolder())).then((content) => document(type, content))
    const handle = async (exchange: Exchange) => {
      loading ??= load()
      try {
        sendDocument(exchange, await loading, 'public, max-age=3600')
      } catch (error) {
        // Not kept: a file that can't be read now may be readable for the next request.
        loading = undefined
        throw error
      }
    }
    return { method: 'GET', path: `/docs/${name}`, handle }
  })
  return [
    { method: 'GET', path: '/docs', handle: (exchange) => sendDocument(exchange, page, 'no-cache') },
    { method: 'GET', path: '/docs/start.js', handle: (exchange) => sendDocument(exchange, start, 'no-cache') },
    ...assets,
  ]
}

/** A fixed answer with its entity tag, so that a browser with a copy gets 304. */
export interface Document {
  type: string
  content: Buffer
  etag: string
}

export function document(type: string, content: Buffer): Document {
  return { type, content, etag: `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"` }
}

export function sendDocument(exchange: Exchange, { type, content, etag }: Document, cacheControl: string): void {
  const known = exchange.req.headers['if-none-match']?.includes(etag) === true
  const headers = {
    'content-type': type,
    'cache-control': cacheControl,
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'x-content-type-options': 'nosniff',
    etag,
  }
  noteAccess(exchange.res, exchange)
  send(exchange, known ? 304 : 200, headers, content)
}

/** Scripts and requests stay on this origin. Swagger UI sets style attributes and shows its icons from data: URLs. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** The URLs are relative to `/docs`, so the page also works under a prefix that a proxy in front removes. */
const pageOf = (title: string) => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${escapeHtml(title)}</title>
    <link rel="stylesheet" href="docs/swagger-ui.css">
    <link rel="icon" type="image/png" href="docs/favicon-32x32.png">
  </head>
  <body>
    <div id="reference"></div>
    <script src="docs/swagger-ui-bundle.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>
`

/** A separate file, because the policy forbids inline scripts. `validatorUrl: null` keeps Swagger UI from sending the document to a validator. */
const START = `window.ui = SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  validatorUrl: null,
})
`

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
