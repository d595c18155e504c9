import { startBackups } from './service.ts'

startBackups()
