import * as z from 'zod'
import { type CarriedTrace, traceHeaders } from '#telemetry'

/** The attributes of a CloudEvent: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#required-attributes */
export const CloudEventAttributes = z.object({
  id: z.string().min(1).max(255),
  source: z.string().min(1).max(1_000),
  specversion: z.literal('1.0'),
  type: z.string().min(1).max(255),
  subject: z.string().max(255).optional(),
  time: z.iso.datetime({ offset: true }).optional(),
})
export type CloudEventAttributes = z.infer<typeof CloudEventAttributes>

/** The attributes in the headers of an event in binary mode, unchecked. */
export function attributesOf(headers: Headers): Record<string, string> {
  const attributes: Record<string, string> = {}
  for (const name of Object.keys(CloudEventAttributes.shape)) {
    const value = headers.get(`ce-${name}`)
    if (value !== null) attributes[name] = decodeURIComponentSafely(value)
  }
  return attributes
}

/** Attribute values are percent-encoded in headers. A stray per cent sign stands for itself. */
function decodeURIComponentSafely(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

/** The request that carries an event to a function's app, from a trigger or from a test. */
export function eventRequest(attributes: CloudEventAttributes, data: unknown, trace?: CarriedTrace): Request {
  const headers = new Headers({ 'content-type': 'application/json', ...(trace?.traceparent && traceHeaders(trace)) })
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) headers.set(`ce-${name}`, encodeURI(value))
  }
  return new Request('http://function/', { method: 'POST', headers, body: JSON.stringify(data) })
}

/**
 * An event as JSON: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md. Its trace is in the attributes of
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md, and its baggage in an additional attribute.
 */
export function structuredEvent(attributes: CloudEventAttributes, data: unknown, trace: CarriedTrace): string {
  return JSON.stringify({ ...attributes, datacontenttype: 'application/json', ...traceHeaders(trace), data })
}
