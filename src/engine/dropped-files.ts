import { mayDeleteFiles } from '../iceberg/index.ts'
import type { Catalog, IcebergTable } from '../iceberg/index.ts'
import type { ObjectStore } from '../storage/index.ts'

/**
 * What goes with a table that was taken out of the catalog a moment ago: everything under its location. Nothing where the table says that
 * its files are not to be deleted, or where another table of the catalog is among them: somebody has registered it under a second
 * name, or has put one into its folder.
 */
export async function filesOfDropped(
  { store, catalog }: { readonly store: ObjectStore; readonly catalog: Catalog },
  { location, properties }: Pick<IcebergTable, 'location' | 'properties'>,
): Promise<string[]> {
  if (!mayDeleteFiles(properties)) return []
  const left = await catalog.list()
  if (left.some(({ metadataLocation }) => metadataLocation.startsWith(`${location}/`))) return []
  const files: string[] = []
  for await (const { uri } of store.list(`${location}/`)) files.push(uri)
  return files
}
