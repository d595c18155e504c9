import { renderMetrics } from '#telemetry'

/** Returns the value of a series of this process, by its name and labels exactly as printed; 0 if there is none yet. */
export async function metric(series: string): Promise<number> {
  const line = (await renderMetrics()).split('\n').find((text) => text.startsWith(`${series} `))
  return Number(line?.slice(series.length) ?? 0)
}
