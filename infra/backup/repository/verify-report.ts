/** What `pgbackrest verify` found, by its text: it ends with 0 whatever it finds, with a wrong key too, and then it prints nothing. */
export interface VerifyReport {
  isSound: boolean
  /** A sentence for each thing that is wrong. */
  findings: string[]
}

const COUNTS = /\b(missing|checksum invalid|size invalid|other): (\d+)/g

/** Reads the text of `pgbackrest verify --output=text --verbose`. What is not understood is not sound. */
export function readVerifyText(text: string): VerifyReport {
  const findings: string[] = []
  let subject = 'the repository'
  for (const line of text.split('\n').map((each) => each.trim())) {
    const [, what, name, status] = /^(archiveId|backup): ([^,]+)(?:, status: ([^,]+))?/.exec(line) ?? []
    if (what && name) {
      subject = what === 'backup' ? `backup ${name}` : `the archive of ${name}`
      if (status && status !== 'valid') findings.push(`${subject} is ${status}`)
    }
    for (const [, kind, count] of line.matchAll(COUNTS)) {
      if (Number(count) > 0)
        findings.push(`${subject} has ${count} ${Number(count) === 1 ? 'file' : 'files'} ${PHRASES[kind ?? '']}`)
    }
  }
  const [, status] = /^\s*status: (\w+)/m.exec(text) ?? []
  if (status !== 'ok' && findings.length === 0) {
    findings.push(status ? `pgBackRest finds the repository in the state '${status}'` : NOTHING_SAID)
  }
  return { isSound: findings.length === 0, findings }
}

const NOTHING_SAID = 'pgBackRest could not read the repository: is the key the one that it was made with?'

const PHRASES: Record<string, string> = {
  missing: 'missing',
  'checksum invalid': 'with a wrong checksum',
  'size invalid': 'of a wrong size',
  other: 'that could not be read',
}
