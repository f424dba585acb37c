import { MemoryCatalog } from '../../../src/iceberg/catalog/index.ts'
import { catalogConformance } from '../../conformance/catalog.ts'

catalogConformance('memory', async () => {
  const catalog = new MemoryCatalog()
  return { catalog, again: catalog }
})
