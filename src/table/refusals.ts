import { FrazilError } from '../base/index.ts'

/** The changes of a source do not fit the rows that are here. */
export function missingRow(): FrazilError {
  return new FrazilError('corrupt', 'missing-row', 'the source changed a row that the lake does not have', {
    hint: 'Copy the table anew with frazil resync.',
  })
}
