import type { Field } from '../data/index.ts'

/**
 * The row lineage columns of a data file (specification, "Row Lineage"). A file that lacks one, or has null in it, says: the file's
 * first row id plus the row's position, and the file's data sequence number.
 */
export const rowIdField: Field = { id: 2147483540, name: '_row_id', type: { kind: 'long' }, required: false }
export const lastUpdatedField: Field = {
  id: 2147483539,
  name: '_last_updated_sequence_number',
  type: { kind: 'long' },
  required: false,
}
