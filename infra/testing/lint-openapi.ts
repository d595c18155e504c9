import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openApiOf } from '#openapi'
import { readExamples } from '../local/invocation.ts'
import { loadFunctions } from '../local/load-functions.ts'

// Two linters on the OpenAPI document. They are 135 MB of packages that nothing else needs, so npm fetches them on each run.
const REDOCLY = '@redocly/cli@2'
const SPECTRAL = '@stoplight/spectral-cli@6'

function run(name: string, args: string[], cwd: string): number {
  const npm = ['exec', '--yes', `--package=${name}`, '--', ...args]
  const env = { ...process.env, REDOCLY_TELEMETRY: 'off' }
  return spawnSync('npm', npm, { cwd, env, stdio: 'inherit' }).status ?? 1
}

const folder = await mkdtemp(join(tmpdir(), 'stock-openapi-'))
try {
  const functions = await loadFunctions()
  const document = openApiOf(functions, '0.0.0', await readExamples(functions))
  await writeFile(join(folder, 'openapi.json'), JSON.stringify(document, null, 1))
  await writeFile(join(folder, '.spectral.yaml'), 'extends: ["spectral:oas"]\n')
  const codes = [
    run(REDOCLY, ['redocly', 'lint', '--extends=recommended-strict', 'openapi.json'], folder),
    run(SPECTRAL, ['spectral', 'lint', '--fail-severity=hint', 'openapi.json'], folder),
  ]
  process.exitCode = Math.max(...codes)
} finally {
  await rm(folder, { recursive: true, force: true })
}
