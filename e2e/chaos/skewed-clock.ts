/** Loaded before anything else. The monotonic clock, by which time-outs run, is as it was. */
const SKEWED = `data:text/javascript,${encodeURIComponent(`
const Real = Date, by = Number(process.env.CLOCK_SKEW_MS)
globalThis.Date = class extends Real {
  constructor(...args) { if (args.length > 0) super(...args); else super(Real.now() + by) }
  static now() { return Real.now() + by }
}`)}`

/** What a process of Node is started with for its clock to be so much ahead. */
export const skewedClock = (ms: number) => ({ NODE_OPTIONS: `--import=${SKEWED}`, CLOCK_SKEW_MS: String(ms) })

export const SKEW_MS = 5 * 60_000
