import type { Request, Response } from 'newman'
import { contractOf } from '#testing/contract'
import { createMatcher } from '../../infra/router/match.ts'

/** Returns how an answer differs from the stack's own OpenAPI document, or undefined if it does not. */
export type Contradiction = (request: Request, response: Response) => string | undefined

/** Reads the document that the stack itself publishes. */
export async function readContract(url: string): Promise<Contradiction> {
  const document = (await (await fetch(new URL('/openapi.json', url))).json()) as { paths: Record<string, object> }
  const check = contractOf(document)
  const match = createMatcher(
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
    ),
  )
  return (request, response) => {
    const found = match(request.method, request.url.getPath())
    // An unknown path or method is not an operation of the document.
    if (found.kind !== 'found' || request.method === 'HEAD') return undefined
    const headers = new Headers(response.headers.toObject())
    try {
      check({ ...found.entry, status: response.code, headers, text: response.text() })
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }
}
