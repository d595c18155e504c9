import { environment } from '#config'
import { main } from './main.ts'

await main(environment())
