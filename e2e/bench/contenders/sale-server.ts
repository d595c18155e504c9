import { createHttpServer } from '#function/http-server'
import { startTracing } from '#telemetry'
import adjustStock from '../../../functions/adjust-stock/index.ts'
import confirmReservation from '../../../functions/confirm-reservation/index.ts'
import extendReservation from '../../../functions/extend-reservation/index.ts'
import releaseReservation from '../../../functions/release-reservation/index.ts'
import reserveStock from '../../../functions/reserve-stock/index.ts'
import { createRouter } from '../../../infra/router/router.ts'

/** The functions of a sale in one process behind the router, as in `npm start`, and nothing else. */
const functions = [adjustStock, confirmReservation, extendReservation, releaseReservation, reserveStock]

await startTracing({ name: 'sale-server', version: undefined })
const router = createRouter({
  routes: functions.map(({ name, trigger, limits, app }) => {
    if (trigger.kind !== 'http') throw new Error(`${name} has no route`)
    const { method, path } = trigger
    const { timeoutMs, maxBodyBytes } = limits
    return { name, method, path, timeoutMs, maxBodyBytes, target: { fetch: app.fetch } }
  }),
  openapi: {},
})
const url = await createHttpServer(router.listener).listen(0, '127.0.0.1')
process.stdout.write(`${JSON.stringify({ url })}\n`)
process.on('SIGTERM', () => process.exit())
