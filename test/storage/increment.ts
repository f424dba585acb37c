// Child process of local.test.ts: adds one to a stored number, so many times, by compare-and-set.
import { FrazilError } from '../../src/base/index.ts'
import { openStore } from '../../src/storage/index.ts'

const [directory, uri, times] = process.argv.slice(2)
const store = openStore(directory)
for (let done = 0; done < Number(times);) {
  const info = await store.head(uri)
  const value = Number(new TextDecoder().decode(await store.get(uri)))
  try {
    await store.put(uri, new TextEncoder().encode(String(value + 1)), { ifMatch: info?.etag })
    done++
  } catch (error) {
    if (!(error instanceof FrazilError && error.kind === 'conflict')) throw error
  }
}
