import { ROOT_CONTEXT } from '@opentelemetry/api'
import { SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-base'
import { describe, expect, it } from 'vitest'
import { newIds } from '../trace-context.ts'
import { drawOfRatio } from './sampler.ts'

/** A trace id for which the exclusive or of its words is `word`. */
const idOf = (word: number) => `${'a5c3f00d'.repeat(2)}${'0'.repeat(8)}${word.toString(16).padStart(8, '0')}`

describe('the draw of a ratio', () => {
  it.each([0, 1e-9, 0.01, 0.1, 1 / 3, 0.5, 0.999, 1])(
    'of %d records the traces that the SDK’s sampler does',
    (ratio) => {
      const draw = drawOfRatio(ratio)
      const sampler = new TraceIdRatioBasedSampler(ratio)
      const bound = Math.floor(ratio * 0xffffffff)
      const edges = [0, 1, bound - 1, bound, bound + 1, 0xfffffffe].filter((word) => word >= 0 && word < 0xffffffff)
      const ids = [...edges.map(idOf), ...Array.from({ length: 5_000 }, () => newIds().traceId)]
      for (const id of ids) {
        const { decision } = sampler.shouldSample(ROOT_CONTEXT, id)
        expect(draw(id), id).toBe(decision === SamplingDecision.RECORD_AND_SAMPLED)
      }
    },
  )
})
