import type { TableStatus } from './contract.ts'
import type { PipelineSource, PipelineStatus } from './pipeline-contract.ts'

/** The state of a source with its tables, and why it is not ready. */
export function pipelineStatus(
  source: PipelineStatus['source'],
  tables: readonly TableStatus[],
  memoryUsed: number,
): PipelineStatus {
  const { name, state, reason } = source
  const copying = tables.filter(({ health }) => health === 'copying')
  const reasons = [
    ...copying.map(({ database, table }) => `the table ${database}.${table} is being copied`),
    ...(state === 'streaming' ? [] : [`the source ${name} is ${state}${reason === null ? '' : `: ${reason}`}`]),
  ]
  return { source, tables, reasons, memoryUsed }
}

/** Status of a source whose thread does not answer: it is being started again. */
export function absent(name: string, type: PipelineSource['type'], error: Error): PipelineStatus {
  const source = {
    name,
    type,
    state: 'retrying',
    reason: error.message,
    position: null,
    committed: null,
    lagMs: null,
    lagBytes: null,
    log: null,
  } as const
  return { source, tables: [], reasons: [`the source ${name} is being started again: ${error.message}`], memoryUsed: 0 }
}
