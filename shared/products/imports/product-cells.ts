import { type Issue, ServiceError } from '#errors'

/** Parses a cell that is not text. Throws `validation_failed` under `path`. */
export type ReadCell = (cell: string, path: string) => unknown

/**
 * Makes a product, as in JSON, from cells by the paths of its members, such as `price.amount` or `attributes.colour`. Empty cells are left out.
 * Throws `validation_failed` with all cells that can't be read.
 */
export function productOf(cells: Iterable<readonly [path: string, cell: string]>, readers: Record<string, ReadCell>) {
  const product = new Map<string, unknown>()
  const groups = new Map<string, Map<string, unknown>>()
  const issues: Issue[] = []
  for (const [path, cell] of cells) {
    if (cell === '') continue
    const [target, member] = placeOf(path, product, groups)
    try {
      target.set(member, readers[path]?.(cell, path) ?? cell)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      issues.push(...(error.issues ?? []))
    }
  }
  if (issues.length > 0) throw new ServiceError('validation_failed', 'Cells can’t be read.', { issues })
  for (const [group, members] of groups) product.set(group, Object.fromEntries(members))
  return Object.fromEntries(product)
}

/** Only the first dot separates a path, since attribute names may contain dots. */
function placeOf(
  path: string,
  product: Map<string, unknown>,
  groups: Map<string, Map<string, unknown>>,
): [Map<string, unknown>, string] {
  const dot = path.indexOf('.')
  if (dot === -1) return [product, path]
  const group = path.slice(0, dot)
  const members = groups.get(group) ?? new Map<string, unknown>()
  groups.set(group, members)
  return [members, path.slice(dot + 1)]
}

/** The issue with the column of its member as its path. `columns` maps paths to columns; an issue without a column stays as it is. */
export function inWordsOf(columns: ReadonlyMap<string, string>, { path, message }: Issue): Issue {
  const column = columns.get(path) ?? columns.get(path.slice(0, path.indexOf('.')))
  // The schema's message for a missing member mentions JavaScript's undefined.
  const isMissing = message.endsWith('received undefined')
  return { path: column ?? path, message: isMissing ? 'is missing' : message }
}
