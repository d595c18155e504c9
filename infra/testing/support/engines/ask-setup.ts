import { get } from 'node:http'
import { text } from 'node:stream/consumers'

/** What the set-up of the run (global-setup.ts) has at `url`. Throws what it says. Without a time-out: it may install or build that. */
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
