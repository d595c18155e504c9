import { type Attributes, failSpan, type Tracing } from '#telemetry'

/** The parts of the driver's queries that are used here. */
interface Statement {
  /** The text with `$1` and so on for the values. Set when the statement is written to the server. */
  string?: string
  resolve: (result: unknown) => void
  reject: (error: unknown) => void
}

/** Characters of a statement's text in its span. This service's longest statement has 2,500. */
const TEXT_MAX = 4_000
/** Texts whose descriptions are kept: ten times as many as the service has statements. */
const TEXTS_MAX = 2_000

const described = new Map<string, Attributes & { 'db.query.summary': string }>()

/**
 * Records a span of the statement once it has ended, if the span of the current work is recorded. It has the statement without its values, as
 * https://opentelemetry.io/docs/specs/semconv/database/postgresql/ asks.
 */
export function traceStatement(on: Tracing, statement: Statement, server: Attributes): void {
  const parent = on.current()
  if (!parent) return
  const startedAt = performance.now()
  const { resolve, reject } = statement
  const begin = () => {
    // The driver may fail a query twice when its connection drops.
    Object.assign(statement, { resolve, reject })
    const attributes = describe(statement.string ?? '')
    const name = attributes['db.query.summary'] || 'postgresql'
    return on.start(name, { kind: 'client', parent, startedAt, attributes: { ...server, ...attributes } })
  }
  statement.resolve = (result) => {
    const span = begin()
    if (Array.isArray(result)) span.setAttribute('db.response.returned_rows', result.length)
    span.end(performance.now())
    resolve(result)
  }
  statement.reject = (error) => {
    const span = begin()
    const { name, code } = error as Partial<NodeJS.ErrnoException>
    // Not the message, which may contain a value.
    failSpan(span, { name, code, message: '' })
    if (code) span.setAttribute('db.response.status_code', code)
    span.end(performance.now())
    reject(error)
  }
}

function describe(text: string) {
  const known = described.get(text)
  if (known) return known
  const query = text.replaceAll(/\s+/g, ' ').trim()
  const summary = summaryOf(query)
  const [operation = '', table] = summary.split(' ')
  const description = {
    'db.query.summary': summary,
    'db.operation.name': operation,
    ...(table && isOnly(table, query) && { 'db.collection.name': table }),
    'db.query.text': query.slice(0, TEXT_MAX),
  }
  if (described.size >= TEXTS_MAX) described.clear()
  described.set(text, description)
  return description
}

/** A keyword before a table's name, or a possible one. */
const TABLE = /\b(?:from|join|into|using)\b|(?<!\b(?:for|do) )\bupdate\b/g

/** Whether a statement uses this table and no other. If that is not plain, the answer is no. */
export function isOnly(table: string, query: string): boolean {
  const hasOthers = (query.match(TABLE)?.length ?? 0) > 1 || /\bfrom \w+(?: (?:as )?\w+)?,/.test(query)
  return !hasOthers && !query.includes(`${table}(`)
}

/** A change in a statement, but not `for update` or `do update`. */
const CHANGE = /\b(insert) into (\w+)|\b(delete) from (\w+)|(?<!\b(?:for|do) )\b(update) (\w+)/g

/** The operations of a statement and their tables: `INSERT outbox`, `DELETE outbox INSERT event_log`, `SELECT jobs`, `COMMIT`. */
export function summaryOf(query: string): string {
  const changes = Array.from(query.matchAll(CHANGE), (match) => {
    const [operation = '', table] = match.slice(1).filter((part) => part !== undefined)
    return `${operation.toUpperCase()} ${table}`
  })
  if (changes.length > 0) return [...new Set(changes)].join(' ')
  const [operation = ''] = /^\w+/.exec(query) ?? []
  if (operation !== 'with' && operation !== 'select') return operation.toUpperCase()
  const table = /\bfrom (?!rows from|unnest)(\w+)/.exec(query)?.[1]
  return table ? `SELECT ${table}` : 'SELECT'
}
