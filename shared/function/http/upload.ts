import * as z from 'zod'

/** A body that is not parsed: its media type, and its bytes in one or more blocks. */
export interface Upload {
  type: string
  blocks: Uint8Array[]
}

/** JSON has no bytes, so no JSON body is taken for an upload. */
export function isUpload(body: unknown): body is Upload {
  return (body as Partial<Upload> | null | undefined)?.blocks?.[0] instanceof Uint8Array
}

/** The `body` of a function that takes a file of one of its `contentTypes`. */
export const Upload = z.custom<Upload>(isUpload).meta({ type: 'string' })
