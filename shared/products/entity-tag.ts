import type { VersionedProduct } from './product-rows.ts'

/** `"<version>.<stockVersion>"`: a reader's copy is stale if either changed. */
export function entityTag({ product, stockVersion }: VersionedProduct): string {
  return `"${product.version}.${stockVersion}"`
}

/** True if the reader's copy is still good, by weak comparison: https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match */
export function isNotModified(ifNoneMatch: string | null, tag: string): boolean {
  return (
    ifNoneMatch !== null &&
    tagsOf(ifNoneMatch).some((candidate) => candidate === '*' || candidate.replace(/^W\//, '') === tag)
  )
}

/** Whether an edit meets the version that `If-Match` names. Only the product's own version counts: a reservation spoils no edit. */
export function versionCondition(ifMatch: string | null): (version: number) => boolean {
  if (ifMatch === null) return () => true
  const tags = tagsOf(ifMatch)
  return (version) => tags.some((tag) => tag === '*' || new RegExp(`^"${version}(\\.\\d+)?"$`).test(tag))
}

const tagsOf = (header: string) => header.split(',').map((tag) => tag.trim())
