import type { TableStatus } from './contract.ts'
import type { PipelineStatus } from './pipeline-contract.ts'

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
