import { FrazilError } from '../base/index.ts'
import { LocalStore } from './local.ts'
import type { ObjectStore } from './store.ts'

/**
 * The store behind a warehouse given as absolute directory or URI. Touches nothing yet. Any thread may open its own from the
 * same string. Throws `config`, codes `warehouse-path` and `unknown-scheme`.
 */
export function openStore(warehouse: string): ObjectStore {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(warehouse)?.[1].toLowerCase()
  if (scheme === undefined || scheme === 'file') return new LocalStore(warehouse)
  throw new FrazilError('config', 'unknown-scheme', `no object store for ${scheme}:// in '${warehouse}'`, {
    hint: 'use an absolute directory or a file:// URI',
  })
}
