import { runMigration } from './main.ts'

await runMigration()
