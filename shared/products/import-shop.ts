import { invalid } from '#errors'
import type { Sheet } from './import-csv.ts'
import { quoted, wholeNumberOf } from './import-numbers.ts'
import { minorUnitsOf } from './minor-units.ts'
import { inWordsOf, productOf } from './product-cells.ts'

/** How a shop's software exports products. */
export interface Shop {
  name: string
  /**
   * What of it a column says, by its name in lower case: the path of a member of a product, or what else `begin` asks for. A column
   * without is ignored.
   */
  columnOf: (name: string) => string | undefined
  /** The columns that there must be, by their names. */
  required: readonly string[]
  /** Begins a file: what is given reads its rows in their order, of which one may go on with what another has said. */
  begin: () => ReadRow
}

/** What a row says of a product, by the paths of its members; nothing where it tells of none. Throws `validation_failed`. */
export type ReadRow = (cell: (column: string) => string) => Iterable<readonly [path: string, cell: string]> | undefined

/** A shop's export. Its prices are in `currency`. Throws `validation_failed` for columns that are missing or there twice. */
export function layOutShop(shop: Shop, currency: string, names: readonly string[]): Sheet {
  const columns = names.map((name) => shop.columnOf(name.toLowerCase()))
  const indices = new Map<string, number>()
  for (const [index, column] of columns.entries()) {
    if (column === undefined) continue
    if (indices.has(column)) throw invalid('file', `has twice the column ${quoted(names[index] ?? '')}`)
    indices.set(column, index)
  }
  requireColumns(shop, names, indices)
  const readRow = shop.begin()
  const readers = {
    price: (cell: string, path: string) => ({ amount: minorUnitsOf(cell, currency, path), currency }),
    initialStock: piecesOf,
    lowStockThreshold: wholeNumberOf,
  }
  const words = new Map([...indices].map(([column, index]) => [column, names[index] ?? column]))
  return {
    read: (cells) => {
      const members = readRow((column) => cells[indices.get(column) ?? -1]?.trim() ?? '')
      return members && (() => productOf(members, readers))
    },
    inItsWords: (issue) => inWordsOf(words, issue),
    ignored: columns.filter((column) => column === undefined).length,
  }
}

/** Shops sell what they don't have, and count it below zero: nothing of it is there. */
function piecesOf(cell: string, path: string): number {
  return Math.max(0, wholeNumberOf(cell, path))
}

function requireColumns(shop: Shop, names: readonly string[], found: ReadonlyMap<string, number>): void {
  const missing = shop.required.filter((name) => !found.has(shop.columnOf(name.toLowerCase()) ?? ''))
  if (missing.length === 0) return
  const lacks = `is no export of ${shop.name}: it lacks ${missing.map(quoted).join(', ')}`
  throw invalid(
    'file',
    `${lacks}. Such an export has English names for its columns. Found were ${names.map(quoted).join(', ')}.`,
  )
}
