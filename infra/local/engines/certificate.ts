import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface CertificateFiles {
  authority: string
  certificate: string
  key: string
}

/** Makes a certificate for 127.0.0.1 and localhost, valid for a day, by an authority that no client trusts. Its files are in `folder`. */
export async function certify(folder: string): Promise<CertificateFiles> {
  const [authority, authorityKey] = [join(folder, 'authority.pem'), join(folder, 'authority.key')]
  const [certificate, key] = [join(folder, 'server.pem'), join(folder, 'server.key')]
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
  await run('openssl', [...request, '-subj', '/CN=authority', '-keyout', authorityKey, '-out', authority])
  const signed = ['-CA', authority, '-CAkey', authorityKey, '-addext', 'basicConstraints=critical,CA:false']
  const names = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-subj', '/CN=localhost']
  await run('openssl', [...request, ...signed, ...names, '-keyout', key, '-out', certificate])
  return { authority, certificate, key }
}
