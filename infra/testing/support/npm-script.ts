import { readFileSync } from 'node:fs'

const { scripts }: { scripts: Record<string, string> } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
)

/** The words of a command, to which arguments are added, that runs a script of package.json as npm does: in its folder, by a shell. */
export const npmScript = (name: string): [string, ...string[]] => ['sh', '-c', `${scripts[name]} "$@"`, name]
