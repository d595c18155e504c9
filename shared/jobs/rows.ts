/** A row of a job's table. */
export type Row = Record<string, string | number | boolean | null>

export function toNdjson(rows: Row[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('')
}

/** https://www.rfc-editor.org/rfc/rfc4180: lines end with CRLF, and a field is quoted only if it must be. */
export function csvHeader(columns: string[]): string {
  return `${columns.map(field).join()}\r\n`
}

export function toCsv(columns: string[], rows: Row[]): string {
  return rows.map((row) => `${columns.map((column) => field(row[column] ?? '')).join()}\r\n`).join('')
}

function field(value: string | number | boolean): string {
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
