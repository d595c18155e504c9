import type { Emitter, Request, Response } from 'newman'

/** Shorter secrets, such as an invalid key of one word, may be in a line by chance. */
const SECRET_LENGTH_MIN = 12

/** Paths that have no line in the log. */
const PROBES = ['/healthz', '/readyz']

/** Records the requests and answers of a run. Returns a function that finds faults in the log of the stack that answered. */
export function watchLog(run: Emitter): (lines: readonly string[]) => string[] {
  const secrets = new Map<string, string>()
  const requestIds = new Set<string>()
  run.on('request', (_, { request, response }) => {
    for (const [secret, what] of secretsOf(request, response)) secrets.set(secret, what)
    const { 'request-id': id } = Object.fromEntries(lowerCased(response))
    if (id !== undefined && !PROBES.includes(request.url.getPath())) requestIds.add(id)
  })
  return (lines) => {
    const leaks = Array.from(secrets, ([secret, what]) => {
      const line = lines.find((each) => secret.length >= SECRET_LENGTH_MIN && each.includes(secret))
      return line && `it has ${what} of a request: ${line}`
    })
    const access = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request')
    const logged = new Set(access.map(({ request_id }) => request_id))
    const missing = [...requestIds].filter((id) => !logged.has(id)).map((id) => `it has no line for request ${id}`)
    return [...leaks.filter((leak) => leak !== undefined), ...missing]
  }
}

function secretsOf(request: Request, response: Response | undefined): Array<[secret: string, what: string]> {
  const sent = lowerCased(request).flatMap(([name, value]): Array<[string, string]> => {
    if (name === 'authorization') return [[value.replace(/^Bearer /, ''), 'the API key']]
    return name === 'idempotency-key' ? [[value, 'the idempotency key']] : []
  })
  const got = /"(key|secret)":"([^"]+)"/.exec(response?.text() ?? '')
  return got?.[1] && got[2] ? [...sent, [got[2], `the answer’s ${got[1]}`]] : sent
}

function lowerCased(message: Request | Response | undefined): Array<[name: string, value: string]> {
  return Object.entries(message?.headers.toObject() ?? {}).map(([name, value]) => [name.toLowerCase(), value])
}
