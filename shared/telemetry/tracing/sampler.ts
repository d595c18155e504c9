import { type Link, ROOT_CONTEXT, type SpanContext, TraceFlags } from '@opentelemetry/api'
import { SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-base'
import type { TracingSettings } from './settings.ts'

/** Whether a span is to be recorded. `traceId` is its parent's where there is one. */
export type Sampler = (parent: SpanContext | undefined, traceId: string, links: readonly Link[]) => boolean

/**
 * The sampler of OTEL_TRACES_SAMPLER, but for a trace that begins with links, such as that of a batch. It is recorded if a request that it
 * links to is: another draw would leave most of the recorded requests without their batch, and record batches of no recorded request.
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
  // By the trace id, so that every service that samples by the same ratio records the same traces.
  const sampler = new TraceIdRatioBasedSampler(ratio)
  return (traceId) => sampler.shouldSample(ROOT_CONTEXT, traceId).decision === SamplingDecision.RECORD_AND_SAMPLED
}

const isSampled = ({ traceFlags }: SpanContext) => (traceFlags & TraceFlags.SAMPLED) !== 0
