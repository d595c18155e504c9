import { expect, it, vi } from 'vitest'
import { startStream } from '#function/triggers'
import { functionNamed, newProduct, sql } from '#testing'

it('perf', async () => {
  for (let i = 0; i < 20; i++) await newProduct({ initialStock: 500 })
  await sql`insert into event_log (topic, id, type, product_id, version, data, occurred_at, traceparent) select 'stock-events', gen_random_uuid(),'stock.adjusted', p.id, 1000+n, json_build_object('productId',p.id,'version',1000+n,'location','main','onHandDelta',1,'reservedDelta',0,'stock',json_build_object('onHand',500,'reserved',0,'available',500),'reservationId',null,'reason',null,'reference',null), now(), '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' from (select id from products limit 20) p, generate_series(1,150) n`
  const t = performance.now()
  const trigger = startStream(await functionNamed('detect-low-stock'))
  await vi.waitFor(
    async () => expect((await sql`select position from event_groups`)[0]?.position).toBeGreaterThanOrEqual(3000),
    { timeout: 60_000, interval: 50 },
  )
  console.log('3000 events in', performance.now() - t, 'ms')
  const t2 = performance.now()
  for (let i = 0; i < 300; i++) await sql`update event_groups set attempts = 0`
  console.log('300 single autocommit updates', performance.now() - t2, 'ms')
  const t3 = performance.now()
  for (let i = 0; i < 300; i++) await sql`select 1`
  console.log('300 selects', performance.now() - t3, 'ms')
  await trigger.stop()
}, 90_000)
