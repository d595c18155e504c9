import { invalid } from '#errors'
import { minorUnitsOf } from '../minor-units.ts'
import type { Sheet } from './csv.ts'
import { quoted, wholeNumberOf } from './numbers.ts'
import { inWordsOf, productOf } from './product-cells.ts'

/** The export format of a shop's software. */
export interface Shop {
  name: string
  /**
   * The path of the product's member for a column, by the column's name in lower case, or another name that `begin` uses. Undefined for columns
   * that are ignored.
   */
  columnOf: (name: string) => string | undefined
  /** The names of the required columns. */
  required: readonly string[]
  /** Begins a file. Returns the function that reads its rows in their order: a row may depend on earlier rows. */
  begin: () => ReadRow
}

/** A row's product, by the paths of its members; undefined for a row without a product. Throws `validation_failed`. */
export type ReadRow = (cell: (column: string) => string) => Iterable<readonly [path: string, cell: string]> | undefined

/** Lays out a shop's export, with prices in `currency`. Throws `validation_failed` for columns that are missing or occur twice. */
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

/** Shops that oversell count below zero: then nothing is on hand. */
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
