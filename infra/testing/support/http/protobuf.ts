/** The fields of a message by their numbers, each as bytes. A varint is its value in 8 bytes, little-endian. */
export type Fields = Map<number, Buffer[]>

/** Reads a message of https://protobuf.dev/programming-guides/encoding/ without its schema. */
export function fieldsOf(message: Buffer): Fields {
  const fields: Fields = new Map()
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(message.readUInt8(at++))
      value |= (byte & 0x7fn) << shift
      if (byte < 0x80n) return BigInt.asUintN(64, value)
    }
  }
  const take = (bytes: number) => {
    at += bytes
    return message.subarray(at - bytes, at)
  }
  const read = (type: number): Buffer => {
    if (type === 0) {
      const value = Buffer.alloc(8)
      value.writeBigUInt64LE(varint())
      return value
    }
    if (type === 1) return take(8)
    if (type === 2) return take(Number(varint()))
    if (type === 5) return take(4)
    throw new Error(`there is no wire type ${type}`)
  }
  while (at < message.length) {
    const tag = Number(varint())
    const value = read(tag & 7)
    const known = fields.get(tag >> 3)
    if (known) known.push(value)
    else fields.set(tag >> 3, [value])
  }
  return fields
}

export function values(fields: Fields, number: number): Buffer[] {
  return fields.get(number) ?? []
}

export function text(fields: Fields, number: number): string {
  return values(fields, number)[0]?.toString() ?? ''
}

export function integer(fields: Fields, number: number): number {
  const [value] = values(fields, number)
  return value ? Number(value.readBigInt64LE()) : 0
}
