export type Match<Entry> =
  | { kind: 'found'; entry: Entry }
  | { kind: 'not_found' }
  /** `allow` is the value of the `Allow` header: the methods that this path answers. */
  | { kind: 'method_not_allowed'; allow: string }

/**
 * Makes the function that finds the entry for a method and a path (without its query). It matches the path first: if two templates
 * fit, the one with the earlier literal segment wins, as in OpenAPI. Then it matches the method; GET answers HEAD too.
 * Throws if a template is malformed, or if two entries have the same method and path, apart from parameter names.
 */
export function createMatcher<Entry extends { method: string; path: string }>(
  entries: readonly Entry[],
): (method: string, path: string) => Match<Entry> {
  const root = emptyBranch<Entry>()
  let depthMax = 0
  for (const entry of entries) {
    const segments = templateSegments(entry.path)
    depthMax = Math.max(depthMax, segments.length)
    insert(root, segments, entry)
  }
  return (method, path) => {
    const segments = pathSegments(path, depthMax)
    const methods = segments && find(root, segments, 0)?.methods
    if (!methods) return { kind: 'not_found' }
    const entry = methods.get(method) ?? (method === 'HEAD' ? methods.get('GET') : undefined)
    if (entry) return { kind: 'found', entry }
    return { kind: 'method_not_allowed', allow: allowOf(methods) }
  }
}

/** A node of the trie. A branch without methods only leads to others. */
interface Branch<Entry> {
  literals: Map<string, Branch<Entry>>
  parameter: Branch<Entry> | undefined
  methods: Map<string, Entry>
}

function emptyBranch<Entry>(): Branch<Entry> {
  return { literals: new Map(), parameter: undefined, methods: new Map() }
}

function insert<Entry extends { method: string; path: string }>(
  root: Branch<Entry>,
  segments: string[],
  entry: Entry,
): void {
  let branch = root
  for (const segment of segments) {
    if (isParameter(segment)) {
      branch.parameter ??= emptyBranch()
      branch = branch.parameter
    } else {
      const next = branch.literals.get(segment) ?? emptyBranch<Entry>()
      branch.literals.set(segment, next)
      branch = next
    }
  }
  const taken = branch.methods.get(entry.method)
  if (taken) throw new Error(`${entry.method} ${entry.path} is the same route as ${taken.method} ${taken.path}`)
  branch.methods.set(entry.method, entry)
}

/**
 * Falls back to the parameter if the literal leads nowhere. A trie has no shared branches, so each is visited at most once, and
 * the number of routes bounds the cost, whatever the path.
 */
function find<Entry>(branch: Branch<Entry>, segments: string[], depth: number): Branch<Entry> | undefined {
  const segment = segments[depth]
  if (segment === undefined) return branch.methods.size > 0 ? branch : undefined
  const literal = branch.literals.get(segment)
  return (
    (literal && find(literal, segments, depth + 1)) ?? (branch.parameter && find(branch.parameter, segments, depth + 1))
  )
}

function templateSegments(template: string): string[] {
  const [first, ...segments] = template.split('/')
  const wellFormed = segments.every((segment) => isParameter(segment) || isLiteral(segment))
  if (first !== '' || segments.length === 0 || !wellFormed) throw new Error(`Not a route template: ${template}`)
  return segments
}

function isParameter(segment: string): boolean {
  return segment.length > 2 && segment.startsWith('{') && segment.endsWith('}')
}

/** Literals are compared with decoded segments, so an escape or a character that ends a path could never match. */
function isLiteral(segment: string): boolean {
  return segment !== '' && segment !== '.' && segment !== '..' && !/[{}%?#\\]/.test(segment)
}

/**
 * Returns the decoded segments of a path, or undefined if no template can fit. `\`, `#` and dot segments in any spelling are refused: the
 * functions' URL parser rewrites them, and would see a different path from the one that was routed.
 */
function pathSegments(path: string, depthMax: number): string[] | undefined {
  if (!path.startsWith('/') || path.includes('\\') || path.includes('#')) return undefined
  // One segment more than the deepest template shows that the path is too deep, so a hostile path is not split completely.
  const raw = path.slice(1).split('/', depthMax + 1)
  if (raw.length > depthMax) return undefined
  const segments: string[] = []
  for (const part of raw) {
    const segment = decodeSegment(part)
    if (segment === undefined || segment === '' || segment === '.' || segment === '..') return undefined
    segments.push(segment)
  }
  return segments
}

function decodeSegment(raw: string): string | undefined {
  if (!raw.includes('%')) return raw
  try {
    return decodeURIComponent(raw)
  } catch {
    // A broken escape names nothing that exists: 404, as for any other unknown path.
    return undefined
  }
}

function allowOf(methods: Map<string, unknown>): string {
  const names = new Set(methods.keys())
  if (names.has('GET')) names.add('HEAD')
  return [...names].sort().join(', ')
}
