import { ServiceError } from '#errors'

/** What a key may do. `admin` may do everything. */
export const scopes = [
  'products:read',
  'products:write',
  'stock:read',
  'stock:write',
  'reservations:read',
  'reservations:write',
  'jobs:read',
  'jobs:write',
  'admin',
] as const
export type Scope = (typeof scopes)[number]

interface Granted {
  scopes: readonly Scope[]
}

export function hasScope({ scopes: granted }: Granted, scope: Scope): boolean {
  return granted.includes(scope) || granted.includes('admin')
}

/** Throws `forbidden` for a request without the scope. `what` is the thing that needs the scope; the error's detail begins with it. */
export function requireScope(context: Granted, scope: Scope, what = 'This'): void {
  if (!hasScope(context, scope)) throw lacking(scope, what)
}

export function lacking(scope: Scope, what: string): ServiceError {
  return new ServiceError('forbidden', `${what} needs the scope ${scope}, which this API key lacks.`)
}
