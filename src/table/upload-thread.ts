// Entry of the thread of one upload.
import { parentPort, workerData } from 'node:worker_threads'
import { errorToMessage } from '../base/index.ts'
import type { UploadAnswer, UploadJob } from './upload-messages.ts'
import { takeFiles } from './upload-worker.ts'

let answer: UploadAnswer
try {
  // What the host put there when it made this thread.
  answer = { ok: true, result: await takeFiles(workerData as UploadJob) }
} catch (thrown) {
  answer = { ok: false, error: errorToMessage(thrown) }
}
parentPort?.postMessage(answer)
