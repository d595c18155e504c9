import { inject } from 'vitest'
import { askSetup } from './ask-setup.ts'

/**
 * The URL of an engine of this test run, which is started if this is the first file that asks; undefined where there is none, and in CI
 * an error. Throws in a project without engines.
 */
export async function engineUrl(name: 'postgres' | 'redis' | 'kafka' | 'rabbitmq'): Promise<string | undefined> {
  const enginesUrl = inject('enginesUrl')
  if (enginesUrl === undefined) throw new Error(`a file of this project has no ${name}: see infra/testing/projects.ts`)
  return (await askSetup<{ url?: string }>(`${enginesUrl}/${name}`)).url
}
