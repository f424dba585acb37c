import { enableCompileCache } from 'node:module'
import { join } from 'node:path'

/**
 * Loaded before every test file (`--import`): a file that does not end, as when a failed test left something open, is ended, so that
 * those behind it still run. FRAZIL_TEST_MINUTES: how long one may take.
 *
 * Compiled code is kept for the files behind it, in .cache: compiling src is most of what a small file costs.
 */
// The variable is for threads and daemons. Where nothing can be kept nothing is.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, '../../.cache/compiled')
enableCompileCache(process.env['NODE_COMPILE_CACHE'])

const minutes = Number(process.env['FRAZIL_TEST_MINUTES'] ?? 10)

if (process.env['NODE_TEST_CONTEXT'] !== undefined) {
  // Not a reason to stay alive: it only ever fires in a process that does not end by itself. Nor for the one that runs the files.
  setTimeout(() => {
    process.stderr.write(`${process.argv[1]} has not ended after ${minutes} minutes\n`)
    process.exit(1)
  }, minutes * 60_000).unref()
}
