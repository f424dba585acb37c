import type { TableDescription } from '../../../src/source/postgres/table-description.ts'
import type { PlannedColumn } from '../../../src/source/postgres/table-plan.ts'

/** What the catalogue says of a table that has these columns, and has always had them. The first one is its key. */
export function describedAs(columns: readonly Omit<PlannedColumn, 'codec' | 'setting'>[]): TableDescription {
  return {
    attributes: columns.map(({ id, name, typeOid, modifier }) => {
      return { id, name, typeOid, modifier, dropped: false, generated: false }
    }),
    highest: columns.length,
    storage: '1',
    xid: '3',
    rewritten: false,
    identity: 'd',
    key: [1],
    primaryKey: [1],
    primaryIndex: 9,
    lengthOf: () => null,
    oldRows: () => ({ kind: 'null' }),
  }
}
