import { FrazilError } from '../base/index.ts'
import type { Random } from '../base/index.ts'
import { decodeDeletionVector, encodeDeletionVector, writePuffin } from '../format/puffin/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { DeletionVector } from './contract.ts'

const positionFieldId = 2147483645 // the reserved column `_pos`

/** The deletes of one data file: bit `p % 8` of byte `p / 8` is set for each deleted row position `p`. */
interface DeletedPositions {
  readonly dataFile: string
  readonly bits: Uint8Array
  /** See {@link DeletionVector.replaces}. */
  readonly replaces?: string | null
}

/** A Puffin file to be stored at `path`, and what a table update says about it. */
interface DeletionVectorFile {
  readonly path: string
  readonly bytes: Uint8Array
  readonly vector: DeletionVector
}

/**
 * One vector in a Puffin file of its own under `<location>/data`: with several in a file, another engine's expiry of a replaced
 * one would take the live ones with it.
 */
export function deletionVectorFile(location: string, random: Random, deletes: DeletedPositions): DeletionVectorFile {
  const { blob, cardinality } = encodeDeletionVector(deletes.bits)
  const { bytes, offsets } = writePuffin(
    [
      {
        type: 'deletion-vector-v1',
        fields: [positionFieldId],
        snapshotId: -1n,
        sequenceNumber: -1n,
        properties: { 'referenced-data-file': deletes.dataFile, cardinality: String(cardinality) },
        bytes: blob,
      },
    ],
    { 'created-by': 'frazil' },
  )
  const path = `${location}/data/${random.uuid()}-deletes.puffin`
  const vector: DeletionVector = {
    dataFile: deletes.dataFile,
    path,
    fileSize: bytes.length,
    contentOffset: offsets[0],
    contentSize: blob.length,
    cardinality,
    ...(deletes.replaces === undefined ? {} : { replaces: deletes.replaces }),
  }
  return { path, bytes, vector }
}

/** Reads a live vector, of any writer: the bitset over the `rows` rows of its data file. */
export async function readDeletionVector(store: ObjectStore, vector: DeletionVector, rows: number): Promise<Uint8Array> {
  const blob = await store.get(vector.path, { offset: vector.contentOffset, length: vector.contentSize })
  const { bits, cardinality } = decodeDeletionVector(blob, rows)
  if (cardinality !== vector.cardinality) {
    throw new FrazilError('corrupt', 'bad-deletion-vector', 'malformed deletion vector: its cardinality is not the manifest’s')
  }
  return bits
}
