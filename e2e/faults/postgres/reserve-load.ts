import { setTimeout as sleep } from 'node:timers/promises'
import { expect, vi } from 'vitest'
import { parseToken } from '#database'
import type { Reservation } from '#stock/schema'
import { sql } from '#testing'
import type { Answer, Client, Write } from '../client.ts'
import type { Fleet } from '../fleet.ts'

export interface Sent {
  write: Write & { key: string }
  answer: Answer | undefined
}

/** The pause of each client after each answer or missing answer: servers that come back need the machine too. */
const PAUSE_MS = 20

/** Starts clients that reserve one piece after the other, each with a new key, until they are stopped. */
export function startLoad(client: Client, clients: number, fleet: Fleet, productId: string) {
  const sent: Sent[] = []
  let isOver = false
  const run = async (name: string) => {
    for (let index = 0; !isOver; index++) {
      const key = `${name}-${index}`
      const write = { path: '/v1/reservations', body: { lines: [{ productId, quantity: 1 }], reference: key }, key }
      const answer = await client.send(fleet.of('reserve-stock')[0]?.url() ?? '', write)
      sent.push({ write, answer })
      await sleep(PAUSE_MS)
    }
  }
  const running = Promise.all(Array.from({ length: clients }, (_, index) => run(`client-${index}`)))
  const done = () => sent.filter(({ answer }) => answer?.status === 201)
  return {
    sent,
    done,
    /** Resolves once this many more reservations have been made. */
    more: async (count: number, timeout: number) => {
      const wanted = done().length + count
      await vi.waitFor(() => expect(done().length).toBeGreaterThanOrEqual(wanted), { timeout, interval: 5 })
    },
    stop: async () => {
      isOver = true
      await running
    },
  }
}

export const idOf = ({ answer }: Sent) => (JSON.parse(answer?.text ?? '{}') as Reservation).id
export const timelineOf = ({ answer }: Sent) => parseToken(answer?.token ?? '').timeline

/** Returns which of these reservations exist in the database. */
export async function existing(ids: string[]): Promise<Set<string>> {
  const rows = await sql<Array<{ id: string }>>`select id from reservations where id = any(${ids}::uuid[])`
  return new Set(rows.map(({ id }) => id))
}
