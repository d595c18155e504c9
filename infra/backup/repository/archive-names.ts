/** How many WAL segments share the same middle number, with segments of 16 MB, the default of initdb. */
const SEGMENTS_PER_LOG = 0x100n

/** A WAL segment in the archive, by its timeline and its position in the WAL. */
export interface Segment {
  timeline: number
  /** The number of segments before it, from the beginning of the WAL. */
  number: bigint
}

export interface Archive {
  segments: Segment[]
  /** The timelines whose history file is in the archive. */
  histories: Set<number>
  /** Segments that are in the archive twice with different content: nobody can tell which one is right. */
  ambiguous: string[]
}

const SEGMENT = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?-[0-9a-f]{40}(?:\.\w+)?$/
const HISTORY = /^([0-9A-F]{8})\.history$/

/**
 * Reads the content of an archive from the names of its files. The last segment of an ended timeline may be there as `.partial`. It does
 * not count, because recovery does not use it: the next timeline begins with a copy of it. The labels of backups do not count either.
 */
export function readArchive(names: readonly string[]): Archive {
  const found = new Map<string, Segment>()
  const archive: Archive = { segments: [], histories: new Set(), ambiguous: [] }
  for (const name of names) {
    const [, timeline = '', log = '', part = '', partial] = SEGMENT.exec(name) ?? []
    const [, history] = HISTORY.exec(name) ?? []
    if (history) archive.histories.add(Number.parseInt(history, 16))
    if (!timeline || partial) continue
    const segment = segmentNamed(timeline + log + part)
    if (found.has(segmentName(segment))) archive.ambiguous.push(segmentName(segment))
    found.set(segmentName(segment), segment)
  }
  archive.segments = [...found.values()].sort((a, b) => a.timeline - b.timeline || (a.number < b.number ? -1 : 1))
  return archive
}

/** Parses the name of a segment, such as 000000010000000000000006. Throws for any other name. */
export function segmentNamed(name: string): Segment {
  const [, timeline, log, part] = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/.exec(name) ?? []
  if (!timeline || !log || !part) throw new Error(`${name} is no name of a WAL segment`)
  return {
    timeline: Number.parseInt(timeline, 16),
    number: BigInt(`0x${log}`) * SEGMENTS_PER_LOG + BigInt(`0x${part}`),
  }
}

export function segmentName({ timeline, number }: Segment): string {
  const parts = [BigInt(timeline), number / SEGMENTS_PER_LOG, number % SEGMENTS_PER_LOG]
  return parts.map((part) => part.toString(16).toUpperCase().padStart(8, '0')).join('')
}
