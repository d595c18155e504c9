import type { ReadRow, Shop } from './shop.ts'

/** Shopify's names of its columns, before and since 2025: https://help.shopify.com/en/manual/products/import-export/using-csv */
const columns: Record<string, readonly string[]> = {
  handle: ['handle', 'url handle'],
  name: ['title'],
  description: ['body (html)', 'description'],
  status: ['status'],
  'attributes.vendor': ['vendor'],
  'attributes.type': ['type'],
  sku: ['variant sku', 'sku'],
  price: ['variant price', 'price'],
  initialStock: ['variant inventory qty', 'inventory quantity'],
  'attributes.barcode': ['variant barcode', 'barcode'],
}
const options = [1, 2, 3]
/** The value of the only option of a product without variants. */
const NO_OPTION = 'default title'
/** Unlisted products can be bought by their link. Drafts can't be bought yet, so they can't be reserved here. */
const statuses: Record<string, string> = {
  active: 'active',
  unlisted: 'active',
  draft: 'archived',
  archived: 'archived',
}

/**
 * The file has a row for each variant; the first row of a product also has the values that all variants share. Rows for further images have no
 * product. A variant's name is the title with the values of its options.
 */
export const shopify: Shop = {
  name: 'Shopify',
  columnOf(name) {
    const option = /^option([123]) (name|value)$/.exec(name)
    if (option) return `option ${option[2]} ${option[1]}`
    return Object.keys(columns).find((column) => columns[column]?.includes(name))
  },
  required: ['Title', 'Variant SKU'],
  begin() {
    let product = new Map<string, string>()
    return (cell) => {
      const isFirst = cell('handle') === '' ? cell('name') !== '' : cell('handle') !== product.get('handle')
      if (isFirst) product = new Map(sharedColumns.map((column) => [column, cell(column)]))
      // Captured now, since the next row may begin another product.
      const ofAll = product
      const tellsOfVariant = variantColumns.some((column) => cell(column) !== '')
      return tellsOfVariant ? variantOf(cell, (column) => cell(column) || (ofAll.get(column) ?? '')) : undefined
    }
  },
}

const variantColumns = ['sku', 'price', 'initialStock', 'option value 1', 'name']
const sharedColumns = [
  'handle',
  'name',
  'description',
  'status',
  'attributes.vendor',
  'attributes.type',
  ...options.map((option) => `option name ${option}`),
]

type Cell = Parameters<ReadRow>[0]

function* variantOf(cell: Cell, shared: Cell): Generator<readonly [string, string]> {
  const chosen = options
    .map((option) => ({ name: shared(`option name ${option}`), value: cell(`option value ${option}`) }))
    .filter(({ name, value }) => name !== '' && value !== '' && value.toLowerCase() !== NO_OPTION)
  const title = shared('name')
  yield ['sku', cell('sku')]
  yield ['name', title === '' ? '' : [title, ...chosen.map(({ value }) => value)].join(' - ')]
  yield ['description', shared('description')]
  const status = shared('status')
  yield ['status', statuses[status.toLowerCase()] ?? status]
  yield ['price', cell('price')]
  yield ['initialStock', cell('initialStock')]
  yield ['attributes.handle', shared('handle')]
  yield ['attributes.vendor', shared('attributes.vendor')]
  yield ['attributes.type', shared('attributes.type')]
  yield ['attributes.barcode', cell('attributes.barcode').replace(/^'/, '')]
  for (const { name, value } of chosen) yield [`attributes.${name}`, value]
}
