import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readArchive, segmentName, segmentNamed } from './archive-names.ts'
import { findGaps, readHistory, timelinesWithoutHistory } from './continuity.ts'

const hash = 'fd32afa1d8babef894172c7dd167028450df74a3'
const file = (timeline: number, number: number | bigint) =>
  `${segmentName({ timeline, number: BigInt(number) })}-${hash}.zst`
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const archiveOf = (timeline: number, ...numbers: number[]) => numbers.map((number) => file(timeline, number))
const gapsIn = (names: string[], history: Array<[number, string]>, first: string, last?: string) => {
  const forks = history.flatMap(([timeline, text]) => readHistory(timeline, text))
  return findGaps(readArchive(names), forks, first, last).map(({ from, to, segments }) => `${from}-${to} ${segments}`)
}

describe('the names in an archive', () => {
  it('are read as PostgreSQL writes them', () => {
    expect(segmentNamed('0000000200000001000000FF')).toEqual({ timeline: 2, number: 0x1ffn })
    expect(segmentName({ timeline: 2, number: 0x200n })).toBe('000000020000000200000000')
    expect(() => segmentNamed('00000002.history')).toThrow('no name')
    expect(() => segmentNamed('000000020000000200000000.partial')).toThrow('no name')
  })

  it('count once each, whatever else lies there', () => {
    const names = [
      ...archiveOf(1, 6, 5),
      '000000010000000000000006.00000028.backup',
      `000000010000000000000007.partial-${hash}.zst`,
      '00000002.history',
      'archive.info',
      'archive.info.copy',
      `000000010000000000000008-${hash}.zst.pgbackrest.tmp`,
    ]
    const { segments, histories, ambiguous } = readArchive(names)
    expect(segments.map(segmentName)).toEqual(['000000010000000000000005', '000000010000000000000006'])
    expect([...histories]).toEqual([2])
    expect(ambiguous).toEqual([])
  })

  it('tell of a segment that is there with two contents', () => {
    const again = file(1, 5).replace(/f/g, 'e')
    expect(readArchive([...archiveOf(1, 5), again]).ambiguous).toEqual(['000000010000000000000005'])
  })
})

describe('a gap', () => {
  const first = '000000010000000000000003'

  it('is none where all is there from the first segment of the oldest backup on', () => {
    expect(gapsIn(archiveOf(1, ...range(3, 300)), [], first)).toEqual([])
    // Older segments are about to expire.
    expect(gapsIn(archiveOf(1, 1, ...range(3, 9)), [], first)).toEqual([])
  })

  it('is found wherever it is, between any others, and at the end if the server says how far the archive is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 4, max: 600 }),
        fc.uniqueArray(fc.nat({ max: 600 }), { minLength: 1, maxLength: 9 }),
        (end, holes) => {
          const lost = new Set(holes.map((hole) => 3 + (hole % (end - 2))))
          const names = archiveOf(1, ...range(3, end).filter((number) => !lost.has(number)))
          const gaps = findGaps(readArchive(names), [], first, segmentName({ timeline: 1, number: BigInt(end) }))
          const found = gaps.flatMap(({ from, segments }) =>
            range(0, segments - 1).map((index) => Number(segmentNamed(from).number) + index),
          )
          expect(new Set(found)).toEqual(lost)
          expect(found).toHaveLength(lost.size)
        },
      ),
    )
  })

  it('is everything where the archive is empty', () => {
    expect(gapsIn([], [], first, '000000010000000000000004')).toEqual([
      '000000010000000000000003-000000010000000000000004 2',
    ])
    expect(gapsIn([], [], first)).toEqual([])
  })

  it('is none where a promoted server goes on in the segment that its predecessor did not finish', () => {
    const history = '1\t0/8000A28\tno recovery target specified\n'
    const names = [
      ...archiveOf(1, ...range(3, 7)),
      `000000010000000000000008.partial-${hash}.zst`,
      ...archiveOf(2, 8, 9),
    ]
    expect(gapsIn(names, [[2, history]], first)).toEqual([])
  })

  it('is what the lost primary had not archived when another was promoted', () => {
    const history = '1\t0/8000A28\tno recovery target specified\n'
    expect(gapsIn([...archiveOf(1, 3, 4, 5), ...archiveOf(2, 8, 9)], [[2, history]], first)).toEqual([
      '000000010000000000000006-000000010000000000000007 2',
    ])
    expect(gapsIn([...archiveOf(1, ...range(3, 7)), ...archiveOf(2, 9)], [[2, history]], first)).toEqual([
      '000000020000000000000008-000000020000000000000008 1',
    ])
  })

  it('is found behind each of several promotions', () => {
    const third = '1\t0/6000000\treason\n\n2\t0/9000100\treason\n'
    const names = [...archiveOf(1, ...range(3, 5)), ...archiveOf(2, 6, 8), ...archiveOf(3, 9)]
    const histories: Array<[number, string]> = [
      [2, '1\t0/6000000\treason\n'],
      [3, third],
    ]
    expect(gapsIn(names, histories, first)).toEqual(['000000020000000000000007-000000020000000000000007 1'])
    expect(timelinesWithoutHistory(readArchive(names), first)).toEqual([2, 3])
    expect(timelinesWithoutHistory(readArchive([...names, '00000002.history', '00000003.history']), first)).toEqual([])
  })

  it('is not looked for on timelines that ended before the oldest backup', () => {
    expect(
      gapsIn([...archiveOf(1, 3), ...archiveOf(2, 8, 9)], [[2, '1\t0/8000000\tx\n']], '000000020000000000000008'),
    ).toEqual([])
  })
})
