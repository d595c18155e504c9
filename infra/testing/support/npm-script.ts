import { readFileSync } from 'node:fs'

const { scripts }: { scripts: Record<string, string> } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
)

/** Returns the words of a command that runs a script of package.json as npm does, in a shell. Arguments can be appended to it. */
export const npmScript = (name: string): [string, ...string[]] => ['sh', '-c', `${scripts[name]} "$@"`, name]
