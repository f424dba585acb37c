import { FrazilError } from '../base/index.ts'

/** The changes of a source do not fit the rows that are here. */
export function missingRow(): FrazilError {
  return new FrazilError('corrupt', 'missing-row', 'the source changed a row that the lake does not have', {
    hint: 'Copy the table anew with frazil resync.',
  })
}

/** A row from before a column took its type was changed, and the column's value was not sent. */
export function unknownValue(column: string): FrazilError {
  const message = `a row was changed whose value in column "${column}" is not known since the column took another type`
  return new FrazilError('unsupported', 'schema-changed', message, { hint: 'Copy the table anew with frazil resync.' })
}

/** Somebody has given back rows that were deleted, which a deletion vector never does. */
export function shrunkVector(): FrazilError {
  return new FrazilError('conflict', 'deletion-vector-changed', 'another program has taken deletes back from a data file')
}
