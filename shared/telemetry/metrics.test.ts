import type { IncomingMessage, ServerResponse } from 'node:http'
import { expect, it } from 'vitest'
import { answerScrape, renderMetrics, tracedHistogram } from './metrics.ts'

const duration = tracedHistogram('test_duration_seconds', 'For a test.', ['outcome'])
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'

it.each([
  ['recorded', `00-${TRACE_ID}-b7ad6b7169203331-01`, true],
  ['recorded, with flags besides', `00-${TRACE_ID}-b7ad6b7169203331-03`, true],
  ['not recorded', `00-${TRACE_ID}-b7ad6b7169203331-00`, false],
  ['of another version', `01-${TRACE_ID}-b7ad6b7169203331-01`, false],
  ['broken', `${'x'.repeat(4_000)}1`, false],
  ['missing', undefined, false],
])('an observation is counted, and has an exemplar only if its trace is recorded: %s', async (outcome, trace, has) => {
  duration({ outcome })(0.7, trace)
  const lines = (await renderMetrics('openmetrics')).split('\n')
  const line = lines.find((text) => text.startsWith(`test_duration_seconds_bucket{le="1.0",outcome="${outcome}"} 1`))
  expect(line?.includes(` # {trace_id="${TRACE_ID}"} 0.7 `)).toBe(has)
  expect(await renderMetrics()).not.toContain(TRACE_ID)
})

async function scrape(accept?: string) {
  const answer = { type: '', text: '' }
  const res = {
    writeHead: (_: number, headers: Record<string, string>) => Object.assign(answer, { type: headers['content-type'] }),
    end: (text: string) => Object.assign(answer, { text }),
  }
  await answerScrape({ headers: { accept } } as IncomingMessage, res as unknown as ServerResponse)
  return answer
}

it('gives OpenMetrics to a scraper that asks for it, again and again, and text to others', async () => {
  const ofPrometheus = 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1'
  for (let round = 0; round < 2; round++) {
    const open = await scrape(ofPrometheus)
    expect(open.type).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8')
    expect(open.text).toMatch(/^# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total /m)
    expect(open.text).toMatch(/\n# EOF\n$/)
    for (const accept of [undefined, '*/*', 'text/plain']) {
      const plain = await scrape(accept)
      expect(plain.type).toBe('text/plain; version=0.0.4; charset=utf-8')
      expect(plain.text).toMatch(/^# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total /m)
    }
  }
})
