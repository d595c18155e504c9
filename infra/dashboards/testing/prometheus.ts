import { ensureProgram } from '../../local/engines/prometheus.ts'

/** Why one of the programs is missing here; undefined where all are there. In CI a missing one is an error. */
export async function whyMissing(...programs: Array<Parameters<typeof ensureProgram>[0]>): Promise<string | undefined> {
  try {
    for (const program of programs)
      await ensureProgram(program, (line) => process.stdout.write(`${program}: ${line}\n`))
    return undefined
  } catch (error) {
    if (process.env.CI) throw error
    return (error as Error).message
  }
}
