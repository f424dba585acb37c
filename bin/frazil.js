#!/usr/bin/env node
// Old syntax on purpose: this file must be able to say that the Node.js it runs on is too old.
var major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  process.stderr.write(
    'frazil needs Node.js 24 or newer, and this is ' +
      process.version +
      ' (' +
      process.execPath +
      ').\nInstall a newer one from https://nodejs.org, or put it into this project: npm install node@24\n',
  )
  process.exit(3)
}

// Files, names and compression share these threads with running queries, which hold one each; to be set before the first is used.
process.env.UV_THREADPOOL_SIZE = process.env.UV_THREADPOOL_SIZE || '16'

stayWithinMemory()

import('node:module')
  .then(function (module) {
    // Compiled code is kept between starts: half of the time until the first byte is read. The variable is for worker threads.
    if (process.env.HOME) {
      process.env.NODE_COMPILE_CACHE = process.env.NODE_COMPILE_CACHE || process.env.HOME + '/.cache/frazil/compiled'
      module.enableCompileCache(process.env.NODE_COMPILE_CACHE)
    }
    return import('node:fs')
  })
  .then(function (fs) {
    // A clone has the sources and runs them as they are; the package has what was built from them.
    var source = new URL('../src/cli/main.ts', import.meta.url)
    return import(fs.existsSync(source) ? source.href : new URL('../dist/cli/main.js', import.meta.url).href)
  })
  .catch(function (error) {
    process.stderr.write(String((error && error.stack) || error) + '\n')
    process.exit(70)
  })

// A server begins again in the same process (no fork, the same pid), with what can only be said to a process as it starts: an
// allocator that gives memory back to the system instead of keeping it in an arena for each thread, and a small nursery for the
// objects of each thread. Where that cannot be done everything works all the same, in some 150 MB more.
function stayWithinMemory() {
  var nursery = '--max-semi-space-size=4'
  var allocator = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072', MALLOC_TRIM_THRESHOLD_: '131072' }
  if (process.execArgv[0] === nursery) {
    // Not for the processes that this one starts.
    for (var done in allocator) if (process.env[done] === allocator[done]) delete process.env[done]
    return
  }
  var isServer = process.argv[2] === 'run' || process.argv[2] === 'demo'
  if (!isServer || process.platform !== 'linux' || !process.execve || process.permission) return
  var args = [process.execPath, nursery].concat(process.execArgv, process.argv.slice(1))
  process.execve(process.execPath, args, Object.assign({}, allocator, process.env))
}
