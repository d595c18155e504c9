import { Pool } from 'undici'

export interface Load {
  perSecond: number
  p50Ms: number
  p99Ms: number
  /** How often each status was answered. */
  statuses: Record<number, number>
}

/** Asks over `connections` connections, each as fast as it is answered (closed loop), for `seconds`. */
export async function runLoad(
  origin: string,
  connections: number,
  seconds: number,
  requestOf: () => { path: string; body: object },
  headers: Record<string, string>,
): Promise<Load> {
  const pool = new Pool(origin, { connections, pipelining: 1 })
  const latencies: number[] = []
  const statuses: Record<number, number> = {}
  const until = performance.now() + seconds * 1_000
  const one = async () => {
    while (performance.now() < until) {
      const { path, body } = requestOf()
      const startedAt = performance.now()
      const answer = await pool.request({ path, method: 'POST', headers, body: JSON.stringify(body) })
      await answer.body.dump()
      latencies.push(performance.now() - startedAt)
      statuses[answer.statusCode] = 1 + (statuses[answer.statusCode] ?? 0)
    }
  }
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: connections }, one))
  const elapsed = (performance.now() - startedAt) / 1_000
  await pool.close()
  latencies.sort((a, b) => a - b)
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? Number.NaN
  return { perSecond: latencies.length / elapsed, p50Ms: at(0.5), p99Ms: at(0.99), statuses }
}

export function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
