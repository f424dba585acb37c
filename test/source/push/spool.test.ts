import assert from 'node:assert/strict'
import fs, { copyFile, mkdir, mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { FrazilError } from '../../../src/base/index.ts'
import type { SpoolRecord } from '../../../src/source/push/record.ts'
import { Spool } from '../../../src/source/push/spool.ts'

function record(sequence: number, text = `{"id":${sequence}}`): SpoolRecord {
  const body = Buffer.from(text)
  return {
    sequence,
    timeMs: 1_700_000_000_000,
    table: 'table',
    operation: 'insert',
    rows: 1,
    key: `k${sequence}`,
    digest: 7,
    body,
  }
}

async function stored(folder: string): Promise<number[]> {
  const found: number[] = []
  const spool = await Spool.open(folder, ({ sequence }) => found.push(sequence))
  await spool.close()
  return found
}

suite('spool', () => {
  let root: string
  let folder: string
  let count = 0
  before(async () => (root = await mkdtemp(join(tmpdir(), 'frazil-spool-'))))
  after(() => rm(root, { recursive: true }))

  async function filled(records: number): Promise<string> {
    folder = join(root, String(count++))
    const spool = await Spool.open(folder, () => undefined)
    await Promise.all(Array.from({ length: records }, (_, i) => spool.append(record(i + 1))))
    await spool.close()
    return join(folder, '00000001.spool')
  }

  test('what was appended is there again, field by field', async () => {
    await filled(3)
    const found: SpoolRecord[] = []
    const spool = await Spool.open(folder, (each) => found.push(each))
    assert.deepEqual(
      found.map((each) => ({ ...each, body: Buffer.from(each.body) })),
      [1, 2, 3].map((sequence) => record(sequence)),
    )
    const later: number[] = []
    for await (const { sequence } of spool.records(1)) later.push(sequence)
    assert.deepEqual(later, [2, 3])
    assert.equal(spool.last, 3)
    await spool.close()
  })

  test('at any moment a file has what was promised, whatever was prepared behind it; left, it has nothing else', async () => {
    folder = join(root, String(count++))
    const copy = join(root, `${count}-copy`)
    const spool = await Spool.open(folder, () => undefined)
    const sizes = [1, 40_000, 10, 1_200_000, 5, 31_000, 2_000, 900_000, 200_000, 7]
    for (const [i, size] of sizes.entries()) {
      await Promise.all([spool.append(record(3 * i + 1, ' '.repeat(size))), spool.append(record(3 * i + 2, '{}'))])
      await spool.append(record(3 * i + 3))
      await mkdir(copy, { recursive: true })
      await copyFile(join(folder, '00000001.spool'), join(copy, '00000001.spool'))
      assert.deepEqual(
        await stored(copy),
        Array.from({ length: 3 * (i + 1) }, (_, n) => n + 1),
      )
    }
    await spool.close()
    const last = Buffer.from('{"id":30}')
    assert((await readFile(join(folder, '00000001.spool'))).subarray(-last.length).equals(last))
  })

  test('a record may have a head; files of the format without heads are read', async () => {
    const path = await filled(1)
    const spool = await Spool.open(folder, () => undefined)
    await spool.append({ ...record(2), head: '{"ü":1}' })
    await spool.append({ ...record(3), head: '' })
    await spool.close()
    const older = await readFile(path)
    older.writeUInt32LE(1, 8)
    await writeFile(path, older)
    const heads: (string | undefined)[] = []
    const again = await Spool.open(folder, ({ head, body }) => {
      assert.match(Buffer.from(body).toString(), /^\{"id":\d\}$/)
      heads.push(head)
    })
    await again.close()
    assert.deepEqual(heads, [undefined, '{"ü":1}', ''])
  })

  test('a tail that was torn at any byte is cut off, and nothing before it', async () => {
    const path = await filled(2)
    const whole = await readFile(path)
    const one = Math.floor((whole.length - 16) / 2)
    for (let length = 0; length < whole.length; length++) {
      await writeFile(path, whole.subarray(0, length))
      assert.deepEqual(await stored(folder), length < 16 + one ? [] : [1], `cut at ${length}`)
      const again = await Spool.open(folder, () => undefined)
      await again.append(record(9))
      await again.close()
      assert.deepEqual(await stored(folder), length < 16 + one ? [9] : [1, 9])
      await rm(folder, { recursive: true })
      await (await Spool.open(folder, () => undefined)).close()
    }
  })

  test('a flipped bit ends the last file there, and refuses any other', async () => {
    const path = await filled(2)
    const whole = await readFile(path)
    for (let at = 16; at < whole.length; at += 5) {
      const bytes = Buffer.from(whole)
      bytes[at] ^= 0x10
      await writeFile(path, bytes)
      const found = await stored(folder)
      assert(found.length < 2)
      assert.deepEqual(found, [1].slice(0, found.length))
    }
    const bytes = Buffer.from(whole)
    bytes[40] ^= 1
    await writeFile(path, bytes)
    await writeFile(join(folder, '00000002.spool'), whole)
    await assert.rejects(stored(folder), (error: FrazilError) => error.code === 'spool-damaged' && error.kind === 'corrupt')
  })

  test('a file of a newer version, or of somebody else, is refused', async () => {
    const path = await filled(1)
    const bytes = await readFile(path)
    bytes.writeUInt32LE(3, 8)
    await writeFile(path, bytes)
    await assert.rejects(stored(folder), (error: FrazilError) => error.code === 'newer-format')
    await writeFile(path, 'something else entirely')
    await assert.rejects(stored(folder), (error: FrazilError) => error.code === 'spool-damaged')
    assert.equal((await readdir(folder)).length, 1)
  })

  test('files go when the lake has all of their records, after what must outlive them', async () => {
    await filled(3)
    let kept = 0
    const spool = await Spool.open(folder, () => undefined)
    spool.release(2, async () => void kept++)
    await spool.append(record(4))
    spool.release(3, async () => void kept++)
    await spool.close()
    assert.equal(kept, 1)
    assert.deepEqual(await stored(folder), [4])
  })

  test('a spool that cannot be written refuses, keeps nothing of it, and takes the next ones again', async () => {
    await filled(1)
    const spool = await Spool.open(folder, () => undefined)
    await rm(folder, { recursive: true })
    await assert.rejects(spool.append(record(2)), (error: FrazilError) => error.code === 'spool-failed')
    await (await Spool.open(folder, () => undefined)).close()
    await spool.append(record(3))
    await spool.close()
    await assert.rejects(spool.append(record(4)), (error: FrazilError) => error instanceof FrazilError && error.code === 'closed')
    assert.deepEqual(await stored(folder), [3])
    await truncate(join(folder, (await readdir(folder))[0]), 0)
    assert.deepEqual(await stored(folder), [])
  })

  test('a file system that is so full that no file can be removed takes none of those before', async (t) => {
    await filled(3)
    const spool = await Spool.open(folder, () => undefined)
    // As file systems that copy on write do: what was opened cannot be written, and then not be removed.
    const full = Object.assign(new Error('no room'), { code: 'ENOSPC' })
    const { open } = fs
    const patched = [
      t.mock.method(fs, 'open', async (...args: Parameters<typeof open>) => {
        const handle = await open(...args)
        t.mock.method(handle, 'writev', () => Promise.reject(full))
        return handle
      }),
      t.mock.method(fs, 'rm', () => Promise.reject(full)),
    ]
    syncBuiltinESMExports()
    await assert.rejects(spool.append(record(4)), { code: 'spool-unknown' })
    for (const each of patched) each.mock.restore()
    syncBuiltinESMExports()
    await spool.append(record(5))
    await spool.close()
    assert.deepEqual(await stored(folder), [1, 2, 3, 5])
  })
})
