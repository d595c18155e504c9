type Results<Sent extends readonly unknown[]> = { -readonly [Index in keyof Sent]: Awaited<Sent[Index]> }

/**
 * Sends statements of one transaction in this order, without waiting in between, and returns their results. Throws the first failure, which is the
 * cause: the server refuses the statements after it. The failure of a statement that could not be sent is thrown at once, since the server does not
 * know of it.
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
 * Resolves when each statement of this turn of the event loop has been passed to the driver or has failed, and whatever waits for a failed one has
 * failed too. The driver sends the last of these statements after that, so the next statements are sent together with them.
 */
export const allHandedOver = () => new Promise<void>((resolve) => process.nextTick(resolve))
