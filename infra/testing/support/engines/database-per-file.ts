import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { afterAll } from 'vitest'
import { ensureBootstrapKey } from '#access'
import { shutDown } from '#async'
import { overrideEnvironment } from '#config'
import { connect } from '../../../../shared/database/connections/connect.ts'
import { requireDeclaredEvents } from '../published.ts'
import { engineUrl } from './engine.ts'

/** The admin key of every test database. */
export const ADMIN_KEY = 'test-admin-key'

// Gives each test file that imports this its own fresh database, with the admin key that `call` sends.
const serverUrl = (await engineUrl('postgres')) ?? ''
const name = `test_${randomBytes(6).toString('hex')}`
const admin = postgres(serverUrl, { max: 1, onnotice: () => {} })
await admin`create database ${admin(name)} template template_stock`

const url = new URL(serverUrl)
url.pathname = `/${name}`
overrideEnvironment({ DATABASE_URL: url.href })
await ensureBootstrapKey(ADMIN_KEY)

afterAll(async () => {
  await shutDown()
  const sql = connect(url.href, { max: 1 })
  const undeclared = await requireDeclaredEvents(sql).catch((error: Error) => error)
  await sql.end()
  await admin`drop database if exists ${admin(name)} with (force)`
  await admin.end()
  if (undeclared) throw undeclared
})
