import * as z from 'zod'
import { defineSettings } from '#config'

const samplers = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const
export type SamplerName = (typeof samplers)[number]

const protocol = z.literal('http/protobuf', 'must be http/protobuf').optional()

/**
 * The variables of https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ that apply here. The SDK reads the others,
 * such as limits, headers and certificates.
 */
const settingsSchema = z.object({
  OTEL_SDK_DISABLED: z.string().default('false'),
  OTEL_TRACES_EXPORTER: z.enum(['otlp', 'none']).optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z.url().optional(),
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol,
  OTEL_TRACES_SAMPLER: z.enum(samplers).default('parentbased_always_on'),
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number().min(0).max(1).default(1),
  OTEL_BSP_MAX_QUEUE_SIZE: z.coerce.number().int().min(1).max(1_000_000).default(2_048),
})

export interface TracingSettings {
  sampler: SamplerName
  /** The share of traces beginning here that are recorded, if the sampler uses a ratio. */
  ratio: number
  /** The most spans that may wait for the collector. */
  spansMax: number
}

/** Undefined if the environment asks for no tracing. Throws a ConfigError. */
export const tracingSettings = defineSettings(settingsSchema, (variables): TracingSettings | undefined => {
  const exporter = variables.OTEL_TRACES_EXPORTER
  const endpoint = variables.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? variables.OTEL_EXPORTER_OTLP_ENDPOINT
  const isDisabled = variables.OTEL_SDK_DISABLED.toLowerCase() === 'true' || exporter === 'none'
  if (isDisabled || (exporter === undefined && endpoint === undefined)) return undefined
  return {
    sampler: variables.OTEL_TRACES_SAMPLER,
    ratio: variables.OTEL_TRACES_SAMPLER_ARG,
    spansMax: variables.OTEL_BSP_MAX_QUEUE_SIZE,
  }
})
