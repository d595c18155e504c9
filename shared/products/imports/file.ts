import type { Issue } from '#errors'

/** A row of a file, with the line where it begins, from 1. */
export interface ImportRow {
  line: number
  /** The row's approximate size in memory. */
  size: number
  /** The row's content, as JSON. Throws a ServiceError if it can't be read. */
  read: () => unknown
}

export interface ImportFile {
  /** The rows in their order, without blank ones. Throws `validation_failed` if the rest of the file can't be read. */
  rows: AsyncIterable<ImportRow>
  /** The issue of a product, in the words of the file's columns. */
  inItsWords: (issue: Issue) => Issue
  /** The number of a shop's columns that are not imported. */
  ignoredColumns?: number
}
