/** What `frazil run` (bin/frazil.js) starts its process with, for benchmarks that have an engine in their own. */
export const asDaemon = {
  flags: ['--max-semi-space-size=4'],
  env: { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072', MALLOC_TRIM_THRESHOLD_: '131072' },
}
