import { backups } from './backups.ts'
import type { Board } from './dashboard.ts'
import { data } from './data.ts'
import { functions } from './functions.ts'
import { messaging } from './messaging.ts'
import { service } from './service.ts'
import { stock } from './stock.ts'

export const boards: readonly Board[] = [service, stock, data, messaging, functions, backups]
