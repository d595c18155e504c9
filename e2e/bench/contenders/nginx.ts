import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../../../infra/local/ports.ts'
import { closeLater } from '../closing.ts'
import type { RunningServer } from './servers.ts'

const START_MS = 5_000

/** Returns nginx's version, or undefined if it is not installed. Runs it with a `PATH` that includes Debian's folder for it. */
export async function nginxVersion(): Promise<string | undefined> {
  const found = await promisify(execFile)('nginx', ['-v'], { env: ENV }).catch(() => undefined)
  // nginx writes its version to stderr.
  return found && /nginx\/\S+/.exec(found.stderr)?.[0]
}

/** Starts nginx as a reverse proxy for one port. It has one worker, as the router is one process, and keeps its connections open. */
export async function startNginx(upstreamPort: number, parent: string): Promise<RunningServer> {
  const [folder, port] = [await mkdtemp(join(parent, 'nginx-')), await freePort()]
  await writeFile(join(folder, 'nginx.conf'), configuration(port, upstreamPort))
  const child = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], {
    env: ENV,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const exit = once(child, 'exit')
  const stop = closeLater(async () => {
    child.kill('SIGTERM')
    await exit
  })
  const deadline = performance.now() + START_MS
  while (!(await answers(port))) {
    if (performance.now() > deadline || child.exitCode !== null) throw new Error('nginx does not listen')
    await sleep(20)
  }
  return { port, pid: child.pid ?? 0, stop }
}

const ENV = { PATH: `${process.env.PATH}:/usr/sbin` }

function configuration(port: number, upstreamPort: number): string {
  return `daemon off;
worker_processes 1;
pid nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  upstream function { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://function; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }
  }
}
`
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
