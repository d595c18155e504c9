/** WAL segments of 16 MB, which is what initdb makes: so many have the same middle number. */
const SEGMENTS_PER_LOG = 0x100n

/** A segment of the log that is in the archive, by its timeline and its place in the log. */
export interface Segment {
  timeline: number
  /** Segments before it, from the beginning of the log. */
  number: bigint
}

export interface Archive {
  segments: Segment[]
  /** Timelines whose history file is there. */
  histories: Set<number>
  /** Segments that are there twice with different content: neither can be told from the other. */
  ambiguous: string[]
}

const SEGMENT = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?-[0-9a-f]{40}(?:\.\w+)?$/
const HISTORY = /^([0-9A-F]{8})\.history$/

/**
 * What is in an archive, by the names of its files. The last segment of an ended timeline may be there as `.partial`: recovery does not
 * use it, since the next timeline begins with a copy of it, and so it does not count. Nor do the labels of backups.
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

/** The segment of a name such as 000000010000000000000006. Throws for what is none. */
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
