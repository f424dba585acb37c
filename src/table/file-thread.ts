// Entry of a file worker thread: every port that comes in is an owner to serve.
import { parentPort } from 'node:worker_threads'
import { serveFiles } from './file-worker.ts'
import type { NewOwner, OwnerEnded } from './file-workers.ts'

parentPort?.on('message', ({ owner, port }: NewOwner) => {
  serveFiles(port, () => parentPort?.postMessage({ owner } satisfies OwnerEnded))
})
