import { FrazilError } from '../../base/index.ts'
import type { PointerChange, TableName } from './catalog.ts'

/** The name of a table as people and `FrazilError.table` write it. */
export function fullName(table: TableName): string {
  return `${table.namespace}.${table.name}`
}

/** The pointer of a table is not what the commit was planned on. `found` is what stands there, null for no table. */
export function tableConflict(change: PointerChange, found: string | null): FrazilError {
  const table = fullName(change)
  if (change.base === null) return new FrazilError('conflict', 'table-exists', `table ${table} exists already`, { table })
  const now = found === null ? 'it does not exist' : `it is at ${found}`
  return new FrazilError('conflict', 'table-changed', `table ${table} is not at ${change.base} any more: ${now}`, { table })
}

/** The version of a state record is not the expected one. `found` is null for no record. */
export function stateConflict(key: string, expected: number | null, found: number | null): FrazilError {
  const words = (version: number | null): string => (version === null ? 'absent' : `at version ${version}`)
  return new FrazilError('conflict', 'state-changed', `state record '${key}' is ${words(found)}, expected ${words(expected)}`)
}
