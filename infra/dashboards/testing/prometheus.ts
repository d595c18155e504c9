import { ensureProgram } from '../../local/engines/prometheus.ts'
import { ensureRabbit } from '../../local/engines/rabbitmq.ts'

type Program = Parameters<typeof ensureProgram>[0] | 'rabbitmq-server'

/** Returns why one of the programs is missing, or undefined if all are available. In CI, a missing program is an error. */
export async function whyMissing(...programs: Program[]): Promise<string | undefined> {
  try {
    for (const program of programs) {
      const progress = (line: string) => process.stdout.write(`${program}: ${line}\n`)
      await (program === 'rabbitmq-server' ? ensureRabbit(progress) : ensureProgram(program, progress))
    }
    return undefined
  } catch (error) {
    if (process.env.CI) throw error
    return (error as Error).message
  }
}
