import { trace } from '@opentelemetry/api'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base'
import type { SamplerName, TracingSettings } from './settings.ts'

/**
 * The sampler of OTEL_TRACES_SAMPLER, but for a trace that begins with links, such as that of a batch. It is recorded if a request that it
 * links to is: another draw would leave most of the recorded requests without their batch, and record batches of no recorded request.
 */
export function createSampler({ sampler: name, ratio }: TracingSettings): Sampler {
  const sampler = samplerOf(name, ratio)
  return {
    shouldSample(context, traceId, spanName, kind, attributes, links) {
      if (links.length === 0 || trace.getSpanContext(context)) {
        return sampler.shouldSample(context, traceId, spanName, kind, attributes, links)
      }
      const isRecorded = links.some(({ context: { traceFlags } }) => (traceFlags & 1) === 1)
      return { decision: isRecorded ? SamplingDecision.RECORD_AND_SAMPLED : SamplingDecision.NOT_RECORD }
    },
    toString: () => `Linked{${sampler}}`,
  }
}

function samplerOf(name: SamplerName, ratio: number): Sampler {
  switch (name) {
    case 'always_on':
      return new AlwaysOnSampler()
    case 'always_off':
      return new AlwaysOffSampler()
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(ratio)
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: new AlwaysOnSampler() })
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() })
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) })
  }
}
