import { openStore } from '../storage/index.ts'
import type { ObjectStore } from '../storage/index.ts'

/** Lakes whose store a thread keeps; those that have been there longest go. */
const mostStores = 64

const stores = new Map<string, ObjectStore>()

/**
 * This thread's store of a warehouse. It remembers which folders have durable names: each file by a store of its own would sync all
 * folders above it, five as a rule.
 */
export function threadStore(warehouse: string): ObjectStore {
  let store = stores.get(warehouse)
  if (store) return store
  store = openStore(warehouse)
  stores.set(warehouse, store)
  for (const oldest of stores.keys()) {
    if (stores.size <= mostStores) break
    stores.delete(oldest)
  }
  return store
}
