import { type Link, type SpanContext, TraceFlags } from '@opentelemetry/api'
import type { TracingSettings } from './settings.ts'

/** Whether a span is to be recorded. `traceId` is its parent's if there is a parent. */
export type Sampler = (parent: SpanContext | undefined, traceId: string, links: readonly Link[]) => boolean

/**
 * The sampler of OTEL_TRACES_SAMPLER, except for a trace that begins with links, such as that of a batch. Such a trace is recorded if one of the
 * linked requests is: another draw would leave most of the recorded requests without their batch, and would record batches without any recorded
 * request.
 */
export function createSampler({ sampler: name, ratio }: TracingSettings): Sampler {
  const isParentBased = name.startsWith('parentbased_')
  const draw = drawOf(name, ratio)
  return (parent, traceId, links) => {
    if (parent) return isParentBased ? isSampled(parent) : draw(traceId)
    return links.length > 0 ? links.some(({ context }) => isSampled(context)) : draw(traceId)
  }
}

function drawOf(name: TracingSettings['sampler'], ratio: number): (traceId: string) => boolean {
  if (name.endsWith('always_on')) return () => true
  if (name.endsWith('always_off')) return () => false
  return drawOfRatio(ratio)
}

/** The digits of a 32-bit word in hexadecimal. */
const DIGITS = 8

/**
 * Draws by the trace id, so that every service that samples by the same ratio records the same traces. These are the traces whose exclusive or of
 * the four words is below the ratio's share of all words, as in the SDK's TraceIdRatioBasedSampler. Its first digit nearly always decides, which
 * takes a fifth of the time; this matters because each request is drawn.
 */
export function drawOfRatio(ratio: number): (traceId: string) => boolean {
  if (ratio >= 1) return () => true
  const bound = Math.floor(ratio * 0xffffffff)
  const digits = Array.from(bound.toString(16).padStart(DIGITS, '0'), (digit) => Number.parseInt(digit, 16))
  return (traceId) => {
    for (let at = 0; at < DIGITS; at++) {
      let digit = 0
      for (let word = 0; word < 4; word++) digit ^= hexValue(traceId.charCodeAt(word * DIGITS + at))
      const most = digits[at] as number
      if (digit !== most) return digit < most
    }
    return false
  }
}

/** The value of a digit `0` to `9` or `a` to `f`, from its character's code. */
const hexValue = (code: number) => (code < 0x3a ? code - 0x30 : code - 0x57)

const isSampled = ({ traceFlags }: SpanContext) => (traceFlags & TraceFlags.SAMPLED) !== 0
