import { startCluster } from '../postgres/cluster.ts'

// Runs a cluster in the folder that its argument names, until it is killed.

const say = (line: string) => process.stdout.write(`${line}\n`)
const [dataDir = ''] = process.argv.slice(2)
await startCluster({ dataDir, replica: true, fsync: false, progress: say })
say('up')
