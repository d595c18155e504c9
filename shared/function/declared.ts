import type { FunctionDefinition } from './definition.ts'

const definitions = new Map<string, FunctionDefinition>()

/** Adds a definition to the definitions of this process. */
export function declare(definition: FunctionDefinition): FunctionDefinition {
  definitions.set(definition.name, definition)
  return definition
}

/** The functions whose code this process has, by name. */
export function declaredFunctions(): FunctionDefinition[] {
  return [...definitions.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
