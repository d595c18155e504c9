import { get } from 'node:http'
import { text } from 'node:stream/consumers'
import { inject } from 'vitest'

/**
 * The URL of an engine of this test run, which is started if this is the first file that asks; undefined where there is none, and in CI
 * an error. Throws in a project without engines. Without a time-out: the first start may install the engine.
 */
export async function engineUrl(name: 'postgres' | 'redis' | 'kafka' | 'rabbitmq'): Promise<string | undefined> {
  const enginesUrl = inject('enginesUrl')
  if (enginesUrl === undefined) throw new Error(`a file of this project has no ${name}: see infra/testing/projects.ts`)
  const [status, body] = await new Promise<[number | undefined, string]>((resolve, reject) => {
    const request = get(`${enginesUrl}/${name}`, (response) => {
      text(response).then((answer) => resolve([response.statusCode, answer]), reject)
    })
    request.once('error', reject)
  })
  if (status !== 200) throw new Error(`${name} did not start: ${body}`)
  return JSON.parse(body).url
}
