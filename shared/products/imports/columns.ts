import { invalid } from '#errors'
import type { Sheet } from './csv.ts'
import { quoted, wholeNumberOf } from './numbers.ts'
import { inWordsOf, productOf } from './product-cells.ts'

/** The columns by their names, with the member of create-product that each one stands for. */
const columns = {
  sku: 'sku',
  name: 'name',
  description: 'description',
  priceAmount: 'price.amount',
  priceCurrency: 'price.currency',
  status: 'status',
  lowStockThreshold: 'lowStockThreshold',
  initialStock: 'initialStock',
}
const known = `${Object.keys(columns).join(', ')} and attributes.<name>`
const required = ['sku', 'name']
const readers = { 'price.amount': wholeNumberOf, lowStockThreshold: wholeNumberOf, initialStock: wholeNumberOf }

/** Lays out a file with a column for each member of create-product. Throws `validation_failed` with everything that is wrong with the columns. */
export function layOutProducts(names: readonly string[]): Sheet {
  const paths = names.map(pathOf)
  const flaws = [
    listed(
      'has the unknown column',
      names.filter((_, index) => paths[index] === ''),
    ),
    listed(
      'has twice the column',
      names.filter((_, index) => paths[index] && paths.indexOf(paths[index]) < index),
    ),
    listed(
      'lacks the column',
      required.filter((name) => !paths.includes(name)),
    ),
  ].filter((flaw) => flaw !== '')
  if (flaws.length > 0) {
    // The found columns come last: they may be long, and are cut.
    const found = `Found were ${names.map(quoted).join(', ')}.`
    throw invalid('file', `${flaws.join(', ')}. Known are ${known}. ${hintFor(names)}${found}`)
  }
  const ours = Object.entries(columns).map(([column, path]) => [path, column] as const)
  const words = new Map([...ours, ...paths.map((path, index) => [path, names[index] ?? path] as const)])
  return {
    read: (cells) => () =>
      productOf(
        cells.map((cell, index) => [paths[index] ?? '', cell] as const),
        readers,
      ),
    inItsWords: (issue) => inWordsOf(words, issue),
  }
}

/** The path of a column's member; empty for an unknown column. Attribute names are case-sensitive. */
function pathOf(name: string): string {
  const column = Object.entries(columns).find(([column]) => column.toLowerCase() === name.toLowerCase())
  if (column) return column[1]
  const attribute = /^attributes\.(.{1,100})$/isu.exec(name)?.[1]
  // Schemas skip a member of this name.
  return attribute && attribute !== '__proto__' ? `attributes.${attribute}` : ''
}

function listed(flaw: string, names: readonly string[]): string {
  return names.length === 0 ? '' : `${flaw}${names.length > 1 ? 's' : ''} ${names.map(quoted).join(', ')}`
}

function hintFor(names: readonly string[]): string {
  const shop = names.includes('Regular price') ? 'woocommerce' : names.includes('Handle') ? 'shopify' : undefined
  return shop ? `An export of that shop is read with ?format=${shop}&currency=EUR. ` : ''
}
