const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** JSON Merge Patch of one object into another: https://www.rfc-editor.org/rfc/rfc7396#section-2. Neither is changed. */
export function merge(target: object, patch: object): Record<string, unknown> {
  const merged = new Map<string, unknown>(Object.entries(target))
  for (const [name, value] of Object.entries(patch)) {
    const before = merged.get(name)
    if (value === null || value === undefined) merged.delete(name)
    else merged.set(name, isObject(value) ? merge(isObject(before) ? before : {}, value) : value)
  }
  return Object.fromEntries(merged)
}
