import { mkdtemp, rm, readFile } from 'node:fs/promises'
import { startCluster } from './infra/local/cluster.ts'
import { overrideEnvironment } from '#config'
import { closeDatabase, migrate, systemCaller } from '#database'
import { createProduct } from '#products'
import { CreateProductRequest } from '#products/schema'
import { reserve } from '#stock'
import { ReserveRequest } from '#stock/schema'
import { renderMetrics } from '#telemetry'
const dataDir = await mkdtemp('/tmp/zz-')
const cluster = await startCluster({ dataDir, replica: false, settings: { log_min_duration_statement: process.env.LOGMIN ?? '-1' , log_line_prefix: '%m ' } })
overrideEnvironment({ DATABASE_URL: cluster.primaryUrl, LOG_LEVEL: 'error' })
await migrate()
const p = (await createProduct(CreateProductRequest.parse({ sku: 'A', name: 'a', initialStock: 1e9 }), systemCaller('x'))).product
const until = performance.now() + 4000; let n = 0
await Promise.all(Array.from({ length: 256 }, async () => { while (performance.now() < until) { await reserve(ReserveRequest.parse({ lines: [{ productId: p.id, quantity: 1 }] }), systemCaller('x')); n++ } }))
console.log('direct reserve/s', n / 4)
console.log((await renderMetrics()).split('\n').filter(l => /group_commit_(batch_size|transaction_seconds|wait_seconds)_(sum|count)/.test(l)).join('\n'))
await closeDatabase(); await cluster.stop()
console.log((await readFile(dataDir + '/primary.log', 'utf8')).split('\n').filter(l => /duration/.test(l)).slice(-40).join('\n').replace(/\s+/g,' ').replace(/ LOG:/g,'\nLOG:').slice(0,6000))
await rm(dataDir, { recursive: true })
