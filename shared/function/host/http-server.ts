import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { ServiceError } from '#errors'
import { problemDocument, problemHeaders } from '../problem.ts'
import { requestIdOf } from '../request-id.ts'
import { logUnreadable, noteAccess, watchAccess } from './access-log.ts'
import { followChunks } from './announced-bytes.ts'
import { endAnswer } from './end-answer.ts'
import { prepareClose } from './graceful-close.ts'
import { faultOf, malformed } from './request-head.ts'
import { cutStalledClients } from './stalled-clients.ts'

export interface ServerOptions {
  /** How long a request's header may take to arrive. */
  headersTimeoutMs?: number
  /** How long a client may read nothing of its answer. */
  clientStallMsMax?: number
  /** Whether a host (a name or an address, without the port) is served: requests to other hosts are answered 421. Default: every host. */
  isServed?: (hostname: string) => boolean
}

export interface HttpServer {
  server: Server
  /** Resolves with the URL once it is served; rejects if the port is taken. Port 0 takes any free port. */
  listen(port: number, host: string): Promise<string>
  /**
   * Continues to serve for `delayMs`, and ends each connection with its answer. Then it stops accepting, lets requests in flight finish, and cuts
   * the rest after `deadlineMs`.
   */
  close(deadlineMs: number, delayMs?: number): Promise<void>
}

/**
 * If the server closes an idle connection, a request that is already on its way can be lost. AWS's load balancers close a connection after 60 s of
 * silence, nginx after 60 or 75 s: with a longer time here, they close first.
 */
const KEEP_ALIVE_MS = 76_000

/**
 * Serves HTTP/1.1 with every limit set explicitly, for a function's process and for the router alike. A request that expects `100 Continue` waits
 * until `answer` writes it.
 */
export function createHttpServer(answer: RequestListener, options: ServerOptions = {}): HttpServer {
  const server = createServer(limits(options))
  // Beyond this number, a new connection is closed at once. The limit on open files would also fail connections in use.
  server.maxConnections = 10_000
  // The size of the head already bounds the number of its lines. A bound on the lines would silently drop some.
  server.maxHeadersCount = 0
  // A connection may serve any number of requests: cutting it after some number would only make clients connect again.
  server.maxRequestsPerSocket = 0

  const closing = prepareClose(server)
  const answers = new WeakMap<Duplex, ServerResponse>()
  cutStalledClients(server, closing.inFlight, (socket) => answers.get(socket), options.clientStallMsMax)
  const refused = new WeakSet<Duplex>()
  const listener: RequestListener = (req, res) => {
    if (req.headers['transfer-encoding'] !== undefined && !answers.has(req.socket)) followChunks(req)
    answers.set(req.socket, res)
    closing.watch(req, res, watchAccess(req, res))
    const fault = faultOf(req, options.isServed ?? everyHost)
    if (!fault) return answer(req, res)
    // Errors that the parser finds in the body of such a request are not reported.
    refused.add(req.socket)
    refuseHead(fault, req, res)
  }
  server.on('request', listener)
  // `answer` writes `100 Continue` once it wants the body; any other expectation is ignored. If it answers instead, Node ends the connection, since
  // the client may or may not send its body then.
  server.on('checkContinue', listener)
  server.on('checkExpectation', listener)
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // The parser fails again on the following bytes. The first failure has been answered, and the rest is being dropped.
    if (refused.has(socket) && error.code !== 'ECONNRESET') return
    refused.add(socket)
    const answer = answers.get(socket)
    refuse(error, socket, answer?.headersSent === true && !answer.writableFinished)
  })
  return { server, listen: (port, host) => listen(server, port, host), close: closing.close }
}

function limits(options: ServerOptions) {
  return {
    // 16 KiB: a bearer key and a trace context need 1 KiB; more is a mistake or an attack.
    maxHeaderSize: 16 * 1024,
    // A client writes its head at once. A client that takes 10 s holds the connection on purpose.
    headersTimeout: options.headersTimeoutMs ?? 10_000,
    // The largest import (32 MiB) over 300 kB/s, a poor mobile link, takes 110 s.
    requestTimeout: 120_000,
    // How often the two limits above are checked. With the default, 30 s, they would take up to three times as long.
    connectionsCheckingInterval: 2_000,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Checked here, with a problem document as the answer; Node's own answer has no body.
    requireHostHeader: false,
    noDelay: true,
  }
}

function listen(server: Server, port: number, host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      const { port: actual } = server.address() as AddressInfo
      resolve(`http://${host.includes(':') ? `[${host}]` : host}:${actual}`)
    })
  })
}

const everyHost = () => true

function refuseHead(problem: ServiceError, req: IncomingMessage, res: ServerResponse): void {
  const requestId = requestIdOf(req.headers['request-id']?.toString())
  const body = JSON.stringify(problemDocument(problem, { instance: 'about:blank', requestId }))
  const headers = { ...problemHeaders(problem), 'content-length': Buffer.byteLength(body), 'request-id': requestId }
  noteAccess(res, { function: 'server', route: undefined, requestId, code: problem.code })
  res.writeHead(problem.status, { ...headers, connection: 'close' })
  if (req.method !== 'HEAD') res.write(body)
  endAnswer(req, res)
}

/** Answers bytes that never became a request. If another answer is under way on the connection, the connection is only closed. */
function refuse(error: NodeJS.ErrnoException, socket: Duplex, underWay: boolean): void {
  if (error.code === 'ECONNRESET' || !socket.writable || underWay) {
    socket.destroy()
    return
  }
  const problem = problemOf(error)
  const requestId = requestIdOf(undefined)
  const body = JSON.stringify(problemDocument(problem, { instance: 'about:blank', requestId }))
  const headers = {
    ...problemHeaders(problem),
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    'request-id': requestId,
  }
  logUnreadable(problem, requestId)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join('')}\r\n${body}`)
  // The rest of the bad request is read and dropped for a moment: closing a socket with unread bytes sends a reset, which can
  // overtake the answer.
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), 1_000)
  socket.once('close', () => clearTimeout(timer))
}

function problemOf({ code }: NodeJS.ErrnoException): ServiceError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ServiceError('headers_too_large', 'The request line and the headers are too large.')
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ServiceError('too_large', 'The chunk extensions are too large.')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ServiceError('request_timeout', 'The request did not arrive in time.')
    default:
      return malformed('The request is not well-formed HTTP/1.1.')
  }
}
