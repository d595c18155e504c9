import * as z from 'zod'
import type { RouteEntry, Target } from './route.ts'

/** The router waits this much longer than the function's own limit, so that the function's better answer wins. */
const GRACE_MS = 1_000

const Manifest = z.object({
  functions: z.array(
    z.object({
      name: z.string().regex(/^[a-z][a-z0-9-]*$/),
      kind: z.enum(['http', 'queue', 'stream', 'schedule', 'outbox']),
      route: z
        .object({
          method: z.enum(['GET', 'POST', 'PATCH', 'PUT', 'DELETE']),
          path: z.string(),
          isRead: z.boolean().optional(),
        })
        .optional(),
      // Defaults: the API's general limit on bodies, and a time longer than any answer takes.
      limits: z
        .object({
          timeoutMs: z.int().positive().default(10_000),
          maxBodyBytes: z
            .int()
            .nonnegative()
            .default(1024 * 1024),
        })
        .prefault({}),
    }),
  ),
  openapi: z.looseObject({}),
})

export type Manifest = z.infer<typeof Manifest>

/** Parses the build's `manifest.json`. Throws an error that names every bad member. */
export function parseManifest(json: string): Manifest {
  const parsed = Manifest.safeParse(JSON.parse(json))
  if (parsed.success) return parsed.data
  throw new Error(parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n'))
}

/** Returns a proxied route for each HTTP function, to the upstreams that the environment names, or to `http://<function-name>:3000`. */
export function proxiedRoutes(
  { functions }: Manifest,
  env: Record<string, string | undefined>,
): Array<RouteEntry & { target: Target }> {
  // Upstreams from the environment are looked up first: a default name may belong to a function that is not deployed.
  const isNamed = ({ name }: { name: string }) => (env[upstreamVariableOf(name)] === undefined ? 1 : 0)
  const inOrder = functions.toSorted((a, b) => isNamed(a) - isNamed(b))
  const deployment = new Map(inOrder.map(({ name }) => [name, upstreamsOf(name, env)]))
  return functions.flatMap(({ name, kind, route, limits }) => {
    if (kind !== 'http' || !route) return []
    const { timeoutMs, maxBodyBytes } = limits
    const target = { upstreams: deployment.get(name) ?? [], ...(name === 'list-functions' && { deployment }) }
    return [{ name, ...route, timeoutMs: timeoutMs + GRACE_MS, maxBodyBytes, target }]
  })
}

function upstreamsOf(name: string, env: Record<string, string | undefined>): URL[] {
  const variable = upstreamVariableOf(name)
  const urls = (env[variable] ?? `http://${name}:3000`).split(',').map((url) => url.trim())
  return urls.map((url) => {
    if (URL.canParse(url)) return new URL(url)
    throw new Error(`${variable}: not a URL: ${url}`)
  })
}

export const upstreamVariableOf = (name: string) => `UPSTREAM_${name.toUpperCase().replaceAll('-', '_')}`
