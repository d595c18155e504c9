import { fileURLToPath } from 'node:url'
import type { BuildOptions } from 'esbuild'

/** The options for every bundle that runs as a process: one ES module for Node 20 and later. */
export const bundleOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  absWorkingDir: fileURLToPath(new URL('../../', import.meta.url)),
  // Packages that are still CommonJS call `require`, which an ES module does not have. No source uses the name `requireOf`.
  banner: {
    js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
  },
  logLevel: 'warning',
} as const satisfies BuildOptions
