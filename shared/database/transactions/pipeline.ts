type Results<Sent extends readonly unknown[]> = { -readonly [Index in keyof Sent]: Awaited<Sent[Index]> }

/**
 * The results of statements of one transaction that are sent in this order without waiting in between. Throws the first failure, which is the
 * cause: the server refuses the statements behind it. Of one that could not be sent the server knows nothing, so that is thrown at once.
 *
 * @example
 * const [levels, [product]] = await pipeline([readLevels(tx, id), tx`select name from products where id = ${id}`])
 */
export async function pipeline<const Sent extends readonly unknown[]>(sent: Sent): Promise<Results<Sent>> {
  const settled = Promise.allSettled(sent)
  await Promise.race([Promise.all(sent), allHandedOver()])
  const values = (await settled).map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
  return values as Results<Sent>
}

/**
 * Resolves when each statement of this turn of the event loop is with the driver, or has failed, as has all that waits for it. The driver sends
 * the last of them after that, so what follows travels with them.
 */
export const allHandedOver = () => new Promise<void>((resolve) => process.nextTick(resolve))
