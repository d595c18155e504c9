import { invalid } from '#errors'
import type { ReadRow, Shop } from './shop.ts'

/** WooCommerce's names of its columns: https://github.com/woocommerce/woocommerce/wiki/Product-CSV-Import-Schema */
const columns: Record<string, string> = {
  type: 'type',
  sku: 'sku',
  name: 'name',
  published: 'status',
  description: 'description',
  'short description': 'short description',
  stock: 'initialStock',
  'low stock amount': 'lowStockThreshold',
  'regular price': 'price',
  parent: 'attributes.parent',
  'gtin, upc, ean, or isbn': 'attributes.barcode',
}
/** Types that are not sold by their own sku: a variable product is sold by its variations, a group by its members, an external product elsewhere. */
const notSold = ['variable', 'variable-subscription', 'grouped', 'external']
/** Published, private, or a draft. */
const statuses: Record<string, string> = { 1: 'active', 0: 'archived', '-1': 'archived' }
/** A product can't have more attributes here. */
const ATTRIBUTES_MAX = 100

type Cell = Parameters<ReadRow>[0]

/** The file has a row for each product and each variation. */
export const woocommerce: Shop = {
  name: 'WooCommerce',
  columnOf(name) {
    const attribute = /^attribute (\d{1,3}) (name|value\(s\))$/.exec(name)
    if (attribute) return `attribute ${attribute[2]} ${attribute[1]}`
    return columns[name]
  },
  required: ['SKU', 'Name'],
  begin: () => (cell) => {
    const [type = ''] = cell('type').toLowerCase().split(',')
    return notSold.includes(type.trim()) ? undefined : productOf((column) => unguarded(cell(column)))
  },
}

function* productOf(cell: Cell): Generator<readonly [string, string]> {
  if (cell('initialStock') === 'parent') {
    throw invalid('initialStock', 'is counted with its parent’s: give it a stock of its own')
  }
  yield ['sku', cell('sku')]
  yield ['name', cell('name')]
  yield ['description', withLineBreaks(cell('description') || cell('short description'))]
  yield ['status', statuses[cell('status')] ?? cell('status')]
  yield ['price', cell('price')]
  yield ['initialStock', cell('initialStock')]
  yield ['lowStockThreshold', cell('lowStockThreshold')]
  yield ['attributes.parent', cell('attributes.parent')]
  yield ['attributes.barcode', cell('attributes.barcode')]
  // The numbers of attributes have no gaps.
  for (let number = 1; number <= ATTRIBUTES_MAX && cell(`attribute name ${number}`) !== ''; number++) {
    yield [`attributes.${cell(`attribute name ${number}`)}`, cell(`attribute value(s) ${number}`)]
  }
}

/** Removes the quote before a text that a spreadsheet would take for a formula. */
function unguarded(text: string): string {
  return text.replace(/^'(?=[=+@-])/, '')
}

/** A line break is written as `\n`, and the two characters `\n` as `\\n`. */
function withLineBreaks(text: string): string {
  return text.replaceAll(/\\\\n|\\n/g, (found) => (found === '\\n' ? '\n' : '\\n'))
}
