import { renderMetrics } from '#telemetry'

/** The value of a series of this process, by its name and labels as they are written; 0 where there is none yet. */
export async function metric(series: string): Promise<number> {
  const line = (await renderMetrics()).split('\n').find((text) => text.startsWith(`${series} `))
  return Number(line?.slice(series.length) ?? 0)
}
