type Results<Sent extends readonly unknown[]> = { -readonly [Index in keyof Sent]: Awaited<Sent[Index]> }

/**
 * The results of a transaction's statements that are sent one behind the other, in this order, without a wait in between. Of
 * those that fail it throws the first: it is the cause, and the server has only refused what came behind it.
 */
export async function pipeline<const Sent extends readonly unknown[]>(sent: Sent): Promise<Results<Sent>> {
  const settled = await Promise.allSettled(sent)
  const values = settled.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
  return values as Results<Sent>
}
