import { ServiceError } from '#errors'
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

/** A request's preconditions: its headers `If-Match` and `If-None-Match`. */
export interface Preconditions {
  ifMatch: string | null
  ifNoneMatch: string | null
}

/**
 * Whether a change meets the preconditions of its request, by https://www.rfc-editor.org/rfc/rfc9110#section-13.1: `If-Match` by strong comparison,
 * `If-None-Match` by weak comparison. Only the product's own version counts, so a reservation does not make an edit fail.
 */
export function versionCondition({ ifMatch, ifNoneMatch }: Preconditions): (version: number) => boolean {
  if (ifMatch === null && ifNoneMatch === null) return () => true
  return (version) => {
    const names = (header: string, prefix: string) =>
      tagsOf(header).some((tag) => tag === '*' || new RegExp(`^${prefix}"${version}(\\.\\d+)?"$`).test(tag))
    return (ifMatch === null || names(ifMatch, '')) && (ifNoneMatch === null || !names(ifNoneMatch, '(W/)?'))
  }
}

/** Throws `version_mismatch` if a reader's `If-Match` does not name the product's version. */
export function requireMatch(ifMatch: string | null, { product: { version } }: VersionedProduct): void {
  if (ifMatch !== null) requireVersion(version, versionCondition({ ifMatch, ifNoneMatch: null }))
}

/** Throws `version_mismatch`. */
export function requireVersion(version: number, matches: (version: number) => boolean): void {
  if (matches(version)) return
  const detail = `The product is at version ${version}, which is not what the request asks for. Read it again.`
  throw new ServiceError('version_mismatch', detail)
}

const tagsOf = (header: string) => header.split(',').map((tag) => tag.trim())
