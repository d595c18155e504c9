/** Loaded before anything else. The monotonic clock, which time-outs use, is unchanged. */
const SKEWED = `data:text/javascript,${encodeURIComponent(`
const Real = Date, by = Number(process.env.CLOCK_SKEW_MS)
globalThis.Date = class extends Real {
  constructor(...args) { if (args.length > 0) super(...args); else super(Real.now() + by) }
  static now() { return Real.now() + by }
}`)}`

/** The environment that makes the clock of a Node process run ahead by `ms`. */
export const skewedClock = (ms: number) => ({ NODE_OPTIONS: `--import=${SKEWED}`, CLOCK_SKEW_MS: String(ms) })

/**
 * The same for any program that is linked with glibc: https://github.com/wolfcw/libfaketime, in a volume that the container `tools` of
 * compose.yml has filled.
 */
export const fakedClock = (ms: number) => ({
  LD_PRELOAD: '/faketime/libfaketimeMT.so.1',
  FAKETIME: `+${ms / 1_000}`,
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
})
export const FAKETIME_VOLUME = 'faketime:/faketime:ro'

export const SKEW_MS = 5 * 60_000
