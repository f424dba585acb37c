import { Worker } from 'node:worker_threads'
import { FrazilError, asError, errorFromMessage } from '../base/index.ts'
import type { UploadAnswer, UploadJob, UploadResult } from './upload-messages.ts'

/** Takes uploaded files in, each job in a thread of its own: rows that come meanwhile do not wait for it. */
export class Uploader {
  readonly #workers = new Set<Worker>()
  #isClosed = false

  /** See {@link UploadJob}. When it rejects with anything but `closed` or `upload-thread` there is nothing left of the job. */
  take(job: UploadJob): Promise<UploadResult> {
    if (this.#isClosed) return Promise.reject(closed())
    const entry = new URL(`./upload-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
    const worker = new Worker(entry, { name: 'frazil-upload', workerData: job })
    this.#workers.add(worker)
    return new Promise<UploadResult>((resolve, reject) => {
      worker.on('message', (answer: UploadAnswer) => {
        if (answer.ok) resolve(answer.result)
        else reject(errorFromMessage(answer.error))
      })
      worker.on('error', (error) => {
        const { message } = asError(error)
        reject(new FrazilError('unavailable', 'upload-thread', `the thread that takes files in has ended: ${message}`))
      })
      worker.on('exit', () => {
        this.#workers.delete(worker)
        reject(closed())
      })
    })
  }

  /** Ends what is under way. What it has written is removed later, as all orphans are. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#workers].map((worker) => worker.terminate()))
  }
}

function closed(): FrazilError {
  return new FrazilError('unavailable', 'closed', 'the engine is closing')
}
