import * as z from 'zod'

/** A body that is taken as it comes: its media type, and its bytes in blocks, of which there is one at least. */
export interface Upload {
  type: string
  blocks: Uint8Array[]
}

/** Bytes are what no JSON has, so nobody can send one that passes for this. */
export function isUpload(body: unknown): body is Upload {
  return (body as Partial<Upload> | null | undefined)?.blocks?.[0] instanceof Uint8Array
}

/** The `body` of a function that takes a file: which types, its `contentTypes` say. */
export const Upload = z.custom<Upload>(isUpload).meta({ type: 'string' })
