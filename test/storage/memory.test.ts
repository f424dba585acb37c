import { MemoryStore } from '../../src/storage/index.ts'
import { storeConformance } from '../conformance/store.ts'

storeConformance('memory', async () => {
  const store = new MemoryStore()
  return { store, again: store }
})
