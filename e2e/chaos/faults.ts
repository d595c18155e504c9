/** The parts of a target, by the names that faults use. There are several of `function` and `worker`. */
export const parts = ['primary', 'replica', 'redis', 'kafka', 'rabbitmq', 'router', 'function', 'worker'] as const
export type Part = (typeof parts)[number]
export const engineParts = ['primary', 'replica', 'redis', 'kafka', 'rabbitmq'] as const satisfies Part[]

/** The delay that `slow` adds to every packet. */
export const SLOW_MS = 60

/** The actions on a part, and how each ends. */
export const actions = {
  kill: 'SIGKILL; what restarts it brings it back',
  restart: 'SIGTERM, upon which it drains; what restarts it brings it back',
  pause: 'its processes stand still (SIGSTOP), and go on',
  cut: 'connections to it are closed, new ones too, until it is mended',
  stall: 'no byte gets through; all that was held back does when it is mended',
  vanish: 'no byte gets through; its connections are reset when it is mended',
  slow: `every packet takes ${SLOW_MS} ms longer, in both directions`,
  lag: 'the replica replays everything 3 s late',
  skew: 'a process is started again with its clock five minutes off, and then with the right one',
  fill: 'its disk is full, and then has room again',
} as const
export type Action = keyof typeof actions

export interface Fault {
  part: Part
  action: Action
  /** The shortest and the longest duration. 0 means that the fault is over at once, and that recovery begins. */
  lastsMs: readonly [number, number]
  /** The time limit from the end of the fault until everything is as before. */
  recoversWithinMs: number
  /** Whether requests may be refused, or get no answer if the router itself is struck. If false, none may be. */
  mayRefuse: boolean
}

export const nameOf = ({ part, action }: Fault) => `${action} ${part}`

const SHORT = [2_000, 8_000] as const
const ONCE = [0, 0] as const
/** If a worker could not record a job's end, another one takes the job once its lease of 30 s has expired. */
const AFTER_LEASE_MS = 45_000

const fault = (
  part: Part,
  action: Action,
  lastsMs: Fault['lastsMs'],
  recoversWithinMs: number,
  mayRefuse = false,
): Fault => ({ part, action, lastsMs, recoversWithinMs, mayRefuse })

/** The limits are several times the duration on an idle machine with two cores. */
export const faults: readonly Fault[] = [
  fault('primary', 'kill', ONCE, AFTER_LEASE_MS, true),
  fault('primary', 'pause', SHORT, AFTER_LEASE_MS, true),
  fault('primary', 'cut', SHORT, AFTER_LEASE_MS, true),
  fault('primary', 'stall', SHORT, AFTER_LEASE_MS, true),
  fault('primary', 'vanish', SHORT, AFTER_LEASE_MS, true),
  fault('primary', 'slow', SHORT, 15_000, true),
  fault('primary', 'restart', ONCE, AFTER_LEASE_MS, true),
  fault('primary', 'fill', SHORT, 60_000, true),
  fault('replica', 'kill', ONCE, 30_000),
  fault('replica', 'restart', ONCE, 30_000),
  fault('replica', 'pause', SHORT, 15_000),
  fault('replica', 'cut', SHORT, 15_000),
  fault('replica', 'stall', SHORT, 15_000),
  fault('replica', 'vanish', SHORT, 15_000),
  fault('replica', 'lag', SHORT, 15_000),
  fault('replica', 'skew', SHORT, 45_000),
  fault('replica', 'fill', SHORT, 60_000),
  fault('redis', 'kill', ONCE, 15_000),
  fault('redis', 'restart', ONCE, 15_000),
  fault('redis', 'pause', SHORT, 15_000),
  fault('redis', 'cut', SHORT, 15_000),
  fault('redis', 'stall', SHORT, 15_000),
  fault('redis', 'vanish', SHORT, 15_000),
  fault('redis', 'slow', SHORT, 15_000),
  fault('redis', 'skew', SHORT, 15_000),
  // Kafka's controller waits until the old broker's session expires, and consumers wait until their group's session expires.
  fault('kafka', 'kill', ONCE, 90_000),
  fault('kafka', 'restart', ONCE, 90_000),
  fault('kafka', 'pause', SHORT, 60_000),
  fault('kafka', 'cut', SHORT, 60_000),
  fault('kafka', 'stall', SHORT, 60_000),
  fault('kafka', 'vanish', SHORT, 60_000),
  fault('kafka', 'fill', SHORT, 90_000),
  fault('rabbitmq', 'kill', ONCE, 60_000),
  fault('rabbitmq', 'restart', ONCE, 60_000),
  fault('rabbitmq', 'pause', SHORT, 30_000),
  fault('rabbitmq', 'cut', SHORT, 30_000),
  fault('rabbitmq', 'stall', SHORT, 30_000),
  fault('rabbitmq', 'vanish', SHORT, 30_000),
  fault('rabbitmq', 'skew', SHORT, 60_000),
  fault('rabbitmq', 'fill', SHORT, 60_000),
  fault('router', 'kill', ONCE, 15_000, true),
  fault('router', 'restart', ONCE, 15_000, true),
  fault('router', 'pause', SHORT, 15_000, true),
  fault('router', 'skew', SHORT, 15_000, true),
  fault('function', 'kill', ONCE, 15_000, true),
  fault('function', 'restart', ONCE, 15_000, true),
  fault('function', 'pause', SHORT, 15_000, true),
  fault('function', 'cut', SHORT, 15_000, true),
  fault('function', 'stall', SHORT, 15_000, true),
  fault('function', 'slow', SHORT, 15_000, true),
  fault('function', 'skew', SHORT, 15_000, true),
  fault('worker', 'kill', ONCE, 60_000),
  fault('worker', 'restart', ONCE, 60_000),
  fault('worker', 'pause', SHORT, 60_000),
  fault('worker', 'cut', SHORT, 60_000),
  fault('worker', 'skew', SHORT, 60_000),
]
