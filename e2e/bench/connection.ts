import type postgres from 'postgres'

export type Connection = postgres.Sql
