// Entry of a pipeline's worker thread: one pipeline, asked by messages.
import { parentPort, workerData } from 'node:worker_threads'
import { errorToMessage } from '../base/index.ts'
import type { PipelineOptions, PipelinePorts } from './pipeline-contract.ts'
import { servePipeline } from './pipeline-host.ts'
import { startPipeline } from './pipeline-parts.ts'

if (parentPort) {
  const port = parentPort
  // What the host put there when it made this thread.
  const { options, ports } = workerData as { options: PipelineOptions; ports: PipelinePorts }
  const listener = {
    event: (event: unknown) => port.postMessage({ op: 'event', event }),
    stopped: (error: Error) => port.postMessage({ op: 'stopped', error: errorToMessage(error) }),
  }
  try {
    servePipeline(port, await startPipeline(options, ports, listener))
    port.postMessage({ op: 'started', error: null })
  } catch (error) {
    port.postMessage({ op: 'started', error: errorToMessage(error) })
  }
}
