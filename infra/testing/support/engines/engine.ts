import { inject } from 'vitest'
import { askSetup } from './ask-setup.ts'

/**
 * Returns the URL of an engine of this test run. The first file that requests the engine starts it. If there is none, returns undefined, or
 * throws in CI. Throws in a project without engines.
 */
export async function engineUrl(name: 'postgres' | 'redis' | 'kafka' | 'rabbitmq'): Promise<string | undefined> {
  const enginesUrl = inject('enginesUrl')
  if (enginesUrl === undefined) throw new Error(`a file of this project has no ${name}: see infra/testing/projects.ts`)
  return (await askSetup<{ url?: string }>(`${enginesUrl}/${name}`)).url
}
