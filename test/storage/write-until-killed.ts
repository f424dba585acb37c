// Child process of local.test.ts: writes objects, by put and by writer, several at a time, and names each once it is durable.
import { openStore } from '../../src/storage/index.ts'

const store = openStore(process.argv[2])
let next = 0

async function write(): Promise<never> {
  for (;;) {
    const number = next++
    const uri = `${store.root}/${number % 7}/${number}`
    const content = new Uint8Array(300_000).fill(number & 0xff)
    if (number % 2 === 0) {
      await store.put(uri, content)
    } else {
      const writer = await store.writer(uri)
      for (let from = 0; from < content.length; from += 100_000) await writer.write(content.subarray(from, from + 100_000))
      await writer.close()
    }
    process.send?.(uri)
  }
}

await Promise.all([write(), write(), write(), write()])
