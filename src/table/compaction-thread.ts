// Entry of the compaction thread.
import { parentPort } from 'node:worker_threads'
import { serveCompactions } from './compaction-worker.ts'

if (parentPort) serveCompactions(parentPort)
