import { requireAskedFor, type Sql } from '#database'
import type { Job } from './schema.ts'

export interface JobRow {
  id: string
  type: string
  state: Job['state']
  attempts: number
  done: number
  total: number
  result: Job['result']
  error: string | null
  createdAt: Date
  updatedAt: Date
}

export function jobColumns(sql: Sql) {
  return sql`id, type, state, attempts, progress_done as done, progress_total as total, result, error,
             created_at as "createdAt", updated_at as "updatedAt"`
}

export async function findJob(sql: Sql, id: string): Promise<Job | undefined> {
  const [row] = await sql<JobRow[]>`select ${jobColumns(sql)} from jobs where id = ${id}`
  if (row) requireAskedFor(row.id === id, 'job')
  return row && toJob(row)
}

export function toJob({ done, total, ...row }: JobRow): Job {
  return {
    id: row.id,
    type: row.type,
    state: row.state,
    attempts: row.attempts,
    progress: { done, total },
    result: row.result,
    error: row.error,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  }
}
