import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import type { ConnectionOptions } from 'node:tls'

/** A server, as named by a URL of libpq (https://www.postgresql.org/docs/current/libpq-connect.html) or Prisma. */
export interface ServerUrl {
  /** A name, an address, or the folder of a socket. */
  host: string
  port: number
  user: string
  password: string
  database: string
  tls: false | 'prefer' | ConnectionOptions
  applicationName: string | undefined
  /** Prisma's parameter: the schema of the tables, if it is not in the server's search path. */
  schema: string | undefined
  /** Settings of the session, as on the server's command line. */
  options: string | undefined
  /** Prisma's `pgbouncer=true`: each transaction, and each single statement, may run on another server connection. */
  isPooled: boolean
  /** Parameters that have no effect here. */
  ignored: string[]
}

/** Parameters of other clients that this service has its own settings for, or does not need. */
const IGNORED = new Set(
  `connect_timeout connection_limit pool_timeout socket_timeout statement_cache_size max_connection_lifetime
  max_idle_connection_lifetime fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
  tcp_user_timeout target_session_attrs load_balance_hosts gssencmode krbsrvname sslsni sslcompression client_encoding`.split(
    /\s+/,
  ),
)

const PARTS =
  /^postgres(?:ql)?:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\[[^\]]+\]|[^:@/?#,]*)(?::(\d+))?(?:\/([^?#]*))?(?:\?([^#]*))?$/i

/** Throws an error whose message says what the URL must be. The message never contains the URL, which has a password. */
export function parseServerUrl(url: string): ServerUrl {
  const [, user = '', password = '', host = '', port = '', database = '', query = ''] = PARTS.exec(url) ?? []
  const parameters = new Map(new URLSearchParams(query))
  const take = (name: string, given = '') => {
    const value = parameters.get(name) ?? decode(given)
    parameters.delete(name)
    return value
  }
  const server = {
    host: take('host', host.replace(/^\[(.*)\]$/, '$1')),
    port: Number(take('port', port) || 5432),
    user: take('user', user) || userInfo().username,
    password: take('password', password),
    database: take('dbname', database),
    applicationName: take('application_name') || undefined,
    schema: take('schema') || undefined,
    options: take('options') || undefined,
    isPooled: isTrue('pgbouncer', take('pgbouncer')),
  }
  if (!PARTS.test(url) || server.host === '' || server.host.includes(',')) {
    throw new Error('must be a postgres:// URL, such as the databaseUrl in .local/stack.json')
  }
  if (!(server.port > 0 && server.port < 65_536)) throw new Error('must be a postgres:// URL with a port below 65536')
  if (server.database === '') throw new Error('must be a postgres:// URL that names its database')
  const tls = tlsOf(server.host, take)
  const ignored = [...parameters.keys()].filter((name) => IGNORED.has(name))
  if (parameters.get('channel_binding') !== undefined) ignored.push(...channelBinding(take('channel_binding'), tls))
  const unknown = [...parameters.keys()].filter((name) => !IGNORED.has(name))
  if (unknown.length > 0) throw new Error(`must not have parameters that are unknown here: ${unknown.join(', ')}`)
  if (server.isPooled && (server.options || server.schema)) {
    throw new Error('must not have pgbouncer=true with options or schema, which PgBouncer does not pass on')
  }
  return { ...server, tls, ignored }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Error('must be a postgres:// URL with each % of its user and password written %25')
  }
}

function isTrue(name: string, value: string): boolean {
  if (value === '' || value === 'false') return false
  if (value === 'true') return true
  throw new Error(`must have ${name}=true or ${name}=false`)
}

/** Follows https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION, except that the default is no TLS. */
function tlsOf(host: string, take: (name: string) => string): ServerUrl['tls'] {
  const [root, cert, key] = [take('sslrootcert'), take('sslcert'), take('sslkey')]
  const mode = take('sslmode') || (root === 'system' ? 'verify-full' : '')
  const files = {
    ...(root && root !== 'system' && { ca: readPem('sslrootcert', root) }),
    ...(cert && { cert: readPem('sslcert', cert) }),
    ...(key && { key: readPem('sslkey', key) }),
  }
  switch (mode) {
    case '':
    case 'disable':
      if (root || cert || key) throw new Error('must have an sslmode beside its certificates, such as verify-full')
      return false
    case 'allow':
    case 'prefer':
      if (root || cert || key)
        throw new Error(`must not have certificates with sslmode=${mode}, which is content without TLS`)
      return 'prefer'
    case 'require':
      if (!root) return { ...files, rejectUnauthorized: false }
      return { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }
    case 'verify-ca':
      return { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }
    case 'verify-full':
      // The driver sets the server name only for host names. For an address, Node would verify the certificate for localhost.
      return { ...files, rejectUnauthorized: true, host }
    default:
      throw new Error('must have one of disable, allow, prefer, require, verify-ca and verify-full as its sslmode')
  }
}

function readPem(name: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Error(`must name a file that can be read as its ${name}: ${(error as Error).message}`)
  }
}

/** A verified certificate proves the same as channel binding: that there is no man in the middle. */
function channelBinding(value: string, tls: ServerUrl['tls']): string[] {
  const isVerified = typeof tls === 'object' && tls.rejectUnauthorized === true
  if (value === 'require' && !isVerified) {
    throw new Error('must have sslmode=verify-full instead of channel_binding=require, which is not supported')
  }
  return ['channel_binding']
}
