import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { FrazilError, asError } from '../base/index.ts'
import type { Random } from '../base/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'

/** Key of the record that gives a lake its identity. */
const lakeKey = 'lake'
const lakeFormat = 1

/** Path of the sqlite catalog of a warehouse directory. */
export function catalogPath(warehouse: string): string {
  return join(warehouse, 'catalog.db')
}

/** The lake's id: what slots, publications and local folders are marked with. Null when the catalog has none yet. */
export async function storedLakeId(catalog: Catalog): Promise<string | null> {
  const stored = await catalog.state(lakeKey)
  if (!stored) return null
  const record: unknown = JSON.parse(stored.value)
  if (typeof record === 'object' && record !== null && 'id' in record && typeof record.id === 'string') {
    if ('format' in record && record.format === lakeFormat) return record.id
    throw new FrazilError('config', 'newer-format', 'this lake was written by a newer version of frazil', {
      hint: 'Install the newer version again.',
    })
  }
  throw new FrazilError('corrupt', 'state-record', 'the lake record in the catalog is damaged')
}

/** The same, made now for a new lake. */
export async function lakeIdentity(catalog: Catalog, random: Random): Promise<string> {
  const stored = await storedLakeId(catalog)
  if (stored !== null) return stored
  const id = random.uuid()
  await catalog.commit({
    tables: [],
    states: [{ key: lakeKey, expected: null, value: JSON.stringify({ format: lakeFormat, id }) }],
  })
  return id
}

/** Makes the folder of a lake, or of what is local to it. Throws `config` `folder`. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
  } catch (cause) {
    throw new FrazilError('config', 'folder', `the folder ${path} cannot be made: ${asError(cause).message}`, { cause })
  }
}
