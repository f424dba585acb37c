import { FrazilError } from '../../base/index.ts'
import type { SourceTable } from '../../data/index.ts'
import { refusal, refusalHint, refusalText } from './refusals.ts'
import type { SegmentWriter } from './segment-writer.ts'

/** The field that a refused value belongs to. */
export function refusedColumn(table: SourceTable, writer: SegmentWriter): { column: string } {
  const { target } = writer.outcome
  return { column: target < 0 ? '' : (writer.fields[target]?.name ?? table.fields[target]?.name ?? '') }
}

export function refusedError(table: SourceTable, column: string, code: number): FrazilError {
  const corruptBytes = code === refusal.malformed || code === refusal.asBinary
  return new FrazilError(
    corruptBytes ? 'corrupt' : 'unsupported',
    // A composite type has changed, of which nothing else tells.
    code === refusal.unchanged ? 'unchanged-value' : code === refusal.otherShape ? 'schema-changed' : 'value-refused',
    `table ${table.sourceName}: ${column === '' ? 'a row' : `column "${column}"`} ${refusalText(code)}`,
    { table: `${table.namespace}.${table.name}`, hint: refusalHint(code, table.sourceName, column) },
  )
}

/** A change of a table whose rows have no other name than all of their values came without them. */
export function noOldRow({ namespace, name, sourceName }: SourceTable, change: 'UPDATE' | 'DELETE'): FrazilError {
  const message = `table ${sourceName} sent ${change === 'UPDATE' ? 'an UPDATE' : 'a DELETE'} without the old row`
  return new FrazilError('corrupt', 'no-old-row', message, { table: `${namespace}.${name}` })
}
