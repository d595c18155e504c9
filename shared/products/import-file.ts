import type { Issue } from '#errors'

/** A row of a file, and where it begins there, from 1. */
export interface ImportRow {
  line: number
  /** About how much memory it takes. */
  size: number
  /** What it says, as JSON. Throws a ServiceError where it can't be read. */
  read: () => unknown
}

export interface ImportFile {
  /** One after the other, without those that are blank. Throws `validation_failed` where the rest can't be read. */
  rows: AsyncIterable<ImportRow>
  /** What is wrong with a product, in the words of the file. */
  inItsWords: (issue: Issue) => Issue
  /** Of a shop's export, how many columns say nothing that is taken. */
  ignoredColumns?: number
}
