import { type Archive, type Segment, segmentName, segmentNamed } from './archive-names.ts'

/** The point where a timeline left another: the segment with the position at which its server was promoted. */
export interface Fork {
  timeline: number
  parent: number
  at: bigint
}

export interface Gap {
  /** The first and the last segment that are missing, by name. */
  from: string
  to: string
  segments: number
}

const SEGMENT_BYTES = 16n * 1024n * 1024n

/**
 * Returns the forks in the history file of a timeline, its own fork last.
 * https://www.postgresql.org/docs/18/continuous-archiving.html#BACKUP-TIMELINES
 */
export function readHistory(timeline: number, text: string): Fork[] {
  const lines = [...text.matchAll(/^(\d+)\s+([0-9A-F]+)\/([0-9A-F]+)\s/gm)]
  const parents = lines.map(([, parent = '', high = '', low = '']) => ({
    parent: Number(parent),
    at: ((BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)) / SEGMENT_BYTES,
  }))
  return parents.map((fork, index) => ({ ...fork, timeline: parents[index + 1]?.parent ?? timeline }))
}

/**
 * Returns the segments that are missing from an archive: from `first`, with which its oldest backup begins, to the last segment of each
 * timeline, and to `last`, the last segment that the server knows to be archived. A timeline begins with the segment in which it left its
 * parent. The parent must be complete up to the segment before that. Without `last`, this can't see what is missing at the end of a
 * timeline that has no child.
 */
export function findGaps({ segments }: Archive, forks: readonly Fork[], first: string, last?: string): Gap[] {
  const start = segmentNamed(first)
  const end = last === undefined ? undefined : segmentNamed(last)
  const timelines = new Set([start, ...segments, ...(end ? [end] : [])].map(({ timeline }) => timeline))
  for (const { timeline, parent } of forks) timelines.add(timeline).add(parent)
  return [...timelines]
    .filter((timeline) => timeline >= start.timeline)
    .sort((a, b) => a - b)
    .flatMap((timeline) => {
      const there = segments.filter((segment) => segment.timeline === timeline).map(({ number }) => number)
      const begin = timeline === start.timeline ? start.number : forks.find((fork) => fork.timeline === timeline)?.at
      const ends = forks.filter((fork) => fork.parent === timeline).map(({ at }) => at - 1n)
      if (end?.timeline === timeline) ends.push(end.number)
      return missing(timeline, there, begin ?? there[0], ends)
    })
}

/** Returns the missing segments of a timeline between `begin` and the last of `there` and `ends`. */
function missing(timeline: number, there: bigint[], begin: bigint | undefined, ends: bigint[]): Gap[] {
  const gaps: Gap[] = []
  if (begin === undefined) return gaps
  let next = begin
  const until = (number: bigint) => {
    if (number > next) gaps.push(gapOf({ timeline, number: next }, { timeline, number: number - 1n }))
    if (number >= next) next = number + 1n
  }
  for (const number of there) until(number)
  const end = ends.reduce((a, b) => (a > b ? a : b), next - 1n)
  until(end + 1n)
  return gaps
}

function gapOf(from: Segment, to: Segment): Gap {
  return { from: segmentName(from), to: segmentName(to), segments: Number(to.number - from.number) + 1 }
}

/** Returns timelines that have segments in the archive but no history file that says where they begin: recovery can't find the way to them. */
export function timelinesWithoutHistory({ segments, histories }: Archive, first: string): number[] {
  const { timeline: oldest } = segmentNamed(first)
  const timelines = new Set(segments.map(({ timeline }) => timeline))
  return [...timelines].filter((timeline) => timeline > Math.max(1, oldest) && !histories.has(timeline))
}
