// Entry of a file worker thread: every port that comes in is an owner to serve.
import { MessagePort, parentPort } from 'node:worker_threads'
import { serveFiles } from './file-worker.ts'

parentPort?.on('message', (port: unknown) => {
  if (port instanceof MessagePort) serveFiles(port)
})
