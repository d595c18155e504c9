/** The findings of `pgbackrest verify`, read from its text. It always exits with 0, even with a wrong key, and then it prints nothing. */
export interface VerifyReport {
  isSound: boolean
  /** A sentence for each problem. */
  findings: string[]
}

const COUNTS = /\b(missing|checksum invalid|size invalid|other): (\d+)/g

/** Parses the text of `pgbackrest verify --output=text --verbose`. Text that can't be parsed counts as not sound. */
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
