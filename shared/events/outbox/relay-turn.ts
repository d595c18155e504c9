import type { Sql } from '#database'

/** Any fixed number that no other advisory lock of this database uses: "relay" in ASCII, cut to 32 bits. */
export const RELAY_LOCK = 0x656c6179

/**
 * False while another relay is at work. The lock lasts until the commit is visible, and each batch is read by its own statement, so with a snapshot
 * taken under the lock: a relay sees everything that the relay before it has done. A relay that dies loses the lock at once. A relay that hangs in
 * its transaction loses it after 10 s, when the server ends its session.
 */
export async function takeTurn(tx: Sql): Promise<boolean> {
  const [row] = await tx<[{ taken: boolean }]>`select pg_try_advisory_xact_lock(${RELAY_LOCK}) as taken`
  return row.taken
}
