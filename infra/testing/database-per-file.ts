import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, inject } from 'vitest'
import { ensureBootstrapKey } from '#access'
import { shutDown } from '#async'
import { overrideEnvironment } from '#config'

/** Gives this test file a fresh database of its own, with the admin key that `call` sends. */
const serverUrl = inject('serverUrl')
const name = `test_${randomBytes(6).toString('hex')}`
const admin = postgres(serverUrl, { max: 1, onnotice: () => {} })
await admin`create database ${admin(name)} template template_stock`

const url = new URL(serverUrl)
url.pathname = `/${name}`
overrideEnvironment({ DATABASE_URL: url.href, DATABASE_REPLICA_URL: undefined, LOG_LEVEL: 'silent' })
await ensureBootstrapKey('test-admin-key')

afterAll(async () => {
  await shutDown()
  await admin`drop database if exists ${admin(name)} with (force)`
  await admin.end()
})
