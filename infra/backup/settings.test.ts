import { expect, it } from 'vitest'
import { commonConfiguration, ofFurtherRepositories } from './settings.ts'

it('a further repository is filled and kept as the first one is', async () => {
  const options = ['repo1-path', 'repo1-cipher-pass', 'repo2-type', 'repo2-s3-bucket', 'repo14-path', 'pg1-path']
  expect(ofFurtherRepositories(await commonConfiguration(), options)).toEqual({
    ...{ 'repo2-retention-full': '2', 'repo2-bundle': 'y', 'repo2-block': 'y' },
    ...{ 'repo14-retention-full': '2', 'repo14-bundle': 'y', 'repo14-block': 'y' },
  })
  expect(ofFurtherRepositories(await commonConfiguration(), ['repo1-path', 'stanza'])).toEqual({})
})
