// Child process of local.test.ts: writes where there is no room or no right, and prints how that fails.
import { readdir } from 'node:fs/promises'
import { FrazilError } from '../../src/base/index.ts'
import { openStore } from '../../src/storage/index.ts'

const directory = process.argv[2]
const store = openStore(directory)
const big = new Uint8Array(512 << 10)

async function outcome(name: string, attempt: () => Promise<unknown>): Promise<void> {
  const result = await attempt().then(
    () => 'written',
    (error: unknown) => (error instanceof FrazilError ? `${error.kind} ${error.code}` : String(error)),
  )
  console.log(`${name}: ${result}`)
}

await outcome('put', () => store.put(`${store.root}/put`, big))
await outcome('writer', async () => {
  const writer = await store.writer(`${store.root}/streamed`)
  try {
    await writer.write(big).catch(() => {})
    // There is room for the directory entry, but a piece is missing.
    await writer.close()
  } catch (error) {
    await writer.abort()
    throw error
  }
})
const left = await readdir(`${directory}/.store/unfinished`).catch(() => [])
console.log(`unfinished: ${left.length}`)
await outcome('small', () => store.put(`${store.root}/small`, new Uint8Array(100)))
