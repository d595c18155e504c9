import { lockFolder } from '../folder-lock.ts'

// Holds the folder that its argument names, until it is killed.

const [folder = ''] = process.argv.slice(2)
await lockFolder(folder)
process.stdout.write('held\n')
setInterval(() => {}, 1_000)
