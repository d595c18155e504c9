type Results<Sent extends readonly unknown[]> = { -readonly [Index in keyof Sent]: Awaited<Sent[Index]> }

/**
 * The results of statements of one transaction that are sent in this order without waiting in between. Throws the first failure, which is the
 * cause: the server refuses the statements behind it.
 *
 * @example
 * const [levels, [product]] = await pipeline([readLevels(tx, id), tx`select name from products where id = ${id}`])
 */
export async function pipeline<const Sent extends readonly unknown[]>(sent: Sent): Promise<Results<Sent>> {
  const settled = await Promise.allSettled(sent)
  const values = settled.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
  return values as Results<Sent>
}
