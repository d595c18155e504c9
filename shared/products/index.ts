export { announceProducts } from './announce.ts'
export { createProduct, deleteProduct, updateProduct } from './catalogue.ts'
export { entityTag, isNotModified, requireMatch, versionCondition } from './entity-tag.ts'
export { getProduct, listProducts } from './read-products.ts'
