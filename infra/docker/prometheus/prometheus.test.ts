import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { allFunctions } from '#testing/functions'

const file = new URL('./prometheus.yml', import.meta.url)

const Config = z.object({
  scrape_configs: z.array(
    z.object({
      job_name: z.string(),
      dns_sd_configs: z.array(z.object({ port: z.number(), names: z.array(z.string()) })).default([]),
    }),
  ),
})

describe('prometheus.yml', () => {
  it('scrapes every function that there is, and all of its replicas, on its own port', async () => {
    const { scrape_configs } = Config.parse(parse(await readFile(file, 'utf8')))
    const found = scrape_configs.find(({ job_name }) => job_name === 'functions')?.dns_sd_configs
    const names = (await allFunctions()).map(({ name }) => name)
    expect(found).toEqual([expect.objectContaining({ port: 3000, names: names.sort() })])
  })
})
