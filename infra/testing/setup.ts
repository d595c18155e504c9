import { afterAll } from 'vitest'
import { shutDown } from '#async'
import { overrideEnvironment } from '#config'

// A test file has no database, whatever the environment says, until it imports `#testing`.
overrideEnvironment({ DATABASE_URL: undefined, DATABASE_REPLICA_URL: undefined, LOG_LEVEL: 'silent' })

afterAll(shutDown)
