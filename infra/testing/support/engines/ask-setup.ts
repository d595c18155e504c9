import { get } from 'node:http'
import { text } from 'node:stream/consumers'

/** Requests something at `url` from the run's set-up (global-setup.ts). Throws its error. There is no time-out: it may have to install or build. */
export async function askSetup<Answer>(url: string): Promise<Answer> {
  const [status, body] = await new Promise<[number | undefined, string]>((resolve, reject) => {
    const request = get(url, (response) => {
      text(response).then((answer) => resolve([response.statusCode, answer]), reject)
    })
    request.once('error', reject)
  })
  if (status !== 200) throw new Error(`${new URL(url).pathname}: ${body}`)
  return JSON.parse(body)
}
