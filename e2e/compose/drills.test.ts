import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { drills } from './drills.ts'

const root = new URL('../../', import.meta.url)

it.each(Object.entries(drills))(
  'the drill %s has a page that names its alerts and says what it looked like',
  async (name, drill) => {
    const page = await readFile(new URL(`docs/runbooks/${name}.md`, root), 'utf8')
    for (const alert of drill.alerts) expect(page).toContain(`\`${alert.split(' ')[0]}\``)
    expect(page).toContain(`npm run drill -- ${name}`)
  },
)

it.each(Object.entries(drills))(
  'the drill %s breaks and mends services that there are',
  async (_, { inject, mend }) => {
    const compose = await readFile(new URL('docker-compose.yml', root), 'utf8')
    const services = [
      ...`${inject}\n${mend}`.matchAll(/docker compose (?:kill|restart|up -d|exec -T(?: -u postgres)?) ([\w-]+)/g),
    ]
    for (const [, service] of services) expect(compose).toMatch(new RegExp(`^  ${service}:$`, 'm'))
  },
)
