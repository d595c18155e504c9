import { readFile } from 'node:fs/promises'
import * as z from 'zod'
import { eventRequest, type FunctionDefinition } from '#function'
import { loadFunction } from './load-functions.ts'

const Params = z.record(z.string(), z.union([z.string(), z.number()]).transform(String))

/** A function's input: `event.json` in its folder, or a file of the same shape. */
const Invocation = z.strictObject({
  /** Functions to call first, and the parameters to take from their answers: `{ "productId": "items.0.id" }`. */
  given: z
    .array(
      z.strictObject({
        function: z.string(),
        params: Params.default({}),
        data: z.json().optional(),
        take: z.record(z.string(), z.string()).default({}),
      }),
    )
    .default([]),
  /** Parameters of the path; any others are parameters of the query. */
  params: Params.default({}),
  headers: z.record(z.string(), z.string()).default({}),
  /** The body of a request, or the data of an event. A text with a type other than JSON is sent as it is. */
  data: z.json().optional(),
  /** The event's attributes, for a function that takes events. */
  event: z.object({ id: z.string(), source: z.string(), type: z.string(), subject: z.string().optional() }).optional(),
})
export type Invocation = z.infer<typeof Invocation>

/** Returns each function's `event.json`, by name. The timestamp is fixed, so that the OpenAPI document stays the same. Throws for an invalid one. */
export async function readExamples(definitions: readonly FunctionDefinition[]): Promise<Record<string, Invocation>> {
  const names = definitions.map(({ name }) => name)
  const read = names.map((name) => readInvocation(new URL(`../../functions/${name}/event.json`, import.meta.url), 1))
  const invocations = await Promise.all(read)
  return Object.fromEntries(names.map((name, index) => [name, invocations[index] as Invocation]))
}

/** Reads an invocation. `{{timestamp}}` in it stands for the current second, for values that must be new each time. Throws for an invalid one. */
export async function readInvocation(
  file: string | URL,
  timestamp = Math.floor(Date.now() / 1000),
): Promise<Invocation> {
  const text = (await readFile(file, 'utf8')).replaceAll('{{timestamp}}', String(timestamp))
  return Invocation.parse(JSON.parse(text))
}

/** Calls the functions of `given`, then the function, in this process. Throws if one of `given` answers with an error. */
export async function invoke(
  definition: FunctionDefinition,
  invocation: Invocation,
  apiKey: string,
): Promise<Response> {
  const params = { ...invocation.params }
  for (const step of invocation.given) {
    const sent = { ...step, data: fill(step.data, params), headers: {}, event: undefined }
    const response = await send(await loadFunction(step.function), sent, apiKey)
    const answer: unknown = await response.json()
    if (!response.ok) throw new Error(`${step.function}, which must run first, answered ${JSON.stringify(answer)}`)
    for (const [name, path] of Object.entries(step.take)) params[name] ??= String(pick(answer, path))
  }
  return send(definition, { ...invocation, params, data: fill(invocation.data, params) }, apiKey)
}

/** Replaces each `{{name}}` in the data by the parameter, since an event has no path for parameters. */
function fill(data: Invocation['data'], params: Record<string, string>): Invocation['data'] {
  if (data === undefined) return undefined
  const text = JSON.stringify(data).replaceAll(/\{\{(\w+)\}\}/g, (braces, name: string) =>
    JSON.stringify(params[name] ?? braces).slice(1, -1),
  )
  return JSON.parse(text) as Invocation['data']
}

function pick(answer: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, name) => (value as Record<string, unknown> | undefined)?.[name], answer)
}

type Sent = Pick<Invocation, 'params' | 'headers' | 'data' | 'event'>

async function send(definition: FunctionDefinition, invocation: Sent, apiKey: string): Promise<Response> {
  return definition.app.fetch(requestOf(definition, invocation, apiKey))
}

function requestOf(definition: FunctionDefinition, { params, headers, data, event }: Sent, apiKey: string): Request {
  const { trigger } = definition
  if (trigger.kind !== 'http') {
    const attributes = event ?? { id: crypto.randomUUID(), source: 'invoke', type: `${trigger.kind}.invoked` }
    const request = eventRequest({ specversion: '1.0', ...attributes }, data ?? {})
    for (const [name, value] of Object.entries(headers)) request.headers.set(name, value)
    return request
  }
  const query = new URLSearchParams(params)
  const path = trigger.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = query.get(name)
    if (value === null) throw new Error(`${definition.name} needs --param ${name}=<value>`)
    query.delete(name)
    return encodeURIComponent(value)
  })
  const url = new URL(`${path}?${query}`, 'http://localhost')
  const all = new Headers({ authorization: `Bearer ${apiKey}`, ...headers })
  if (data === undefined) return new Request(url, { method: trigger.method, headers: all })
  if (!all.has('content-type')) all.set('content-type', 'application/json')
  const isText = typeof data === 'string' && !definition.request.contentTypes.some((type) => type.endsWith('/json'))
  return new Request(url, { method: trigger.method, headers: all, body: isText ? data : JSON.stringify(data) })
}
