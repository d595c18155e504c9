import { startBackups } from './service/service.ts'

startBackups()
