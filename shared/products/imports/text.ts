import { invalid } from '#errors'

const UTF_16 = 'is UTF-16, as spreadsheets write "Unicode text": save it as "CSV UTF-8"'

/** The first bytes, in hexadecimal, of files from spreadsheets and shops that are not UTF-8, with what to do about them. */
const signatures: ReadonlyArray<readonly [start: string, flaw: string]> = [
  ['fffe', UTF_16],
  ['feff', UTF_16],
  ['504b0304', 'is a workbook (.xlsx) or another ZIP archive: save the sheet as "CSV UTF-8"'],
  ['d0cf11e0', 'is a workbook (.xls): save the sheet as "CSV UTF-8"'],
  ['1f8b', 'is compressed by gzip: send it as it was before'],
]

/** A file's text in pieces, without a byte order mark. Throws `validation_failed` if it is not UTF-8. */
export async function* decode(blocks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const decodeNext = (block?: Uint8Array) => {
    try {
      return decoder.decode(block, { stream: block !== undefined })
    } catch {
      throw invalid('file', 'is not valid UTF-8; a spreadsheet writes it as "CSV UTF-8"')
    }
  }
  let isStart = true
  for await (const block of blocks) {
    if (isStart) requireText(block)
    isStart = false
    yield decodeNext(block)
  }
  yield decodeNext()
}

function requireText(block: Uint8Array): void {
  const start = Buffer.from(block.subarray(0, 4)).toString('hex')
  const [, flaw] = signatures.find(([signature]) => start.startsWith(signature)) ?? []
  // UTF-16 without a byte order mark is recognized by the zero byte of each Latin letter.
  if (flaw || block[0] === 0 || block[1] === 0) throw invalid('file', flaw ?? UTF_16)
}
