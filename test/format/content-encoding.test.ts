import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { Allowance, FrazilError } from '../../src/base/index.ts'
import { unpackBody } from '../../src/format/compression/index.ts'

const mostBytes = 1 << 20

async function unpack(body: Buffer, encoding: string): Promise<string> {
  const held = new Allowance(16 << 20)
  const parts = { known: ['gzip', 'zstd', 'br'] as const, mostBytes, held }
  return (await unpackBody(body, encoding, parts)).toString()
}

/** Code of the refusal. */
async function refusal(body: Buffer, encoding: string): Promise<string> {
  try {
    await unpack(body, encoding)
  } catch (error) {
    assert.ok(error instanceof FrazilError && error.kind === 'request')
    return error.code
  }
  return 'taken'
}

/** A frame of zstd that readers have to pass over, as pzstd writes it before each one of data. */
const skipped = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4])

suite('Content-Encoding', () => {
  test('all members of gzip and all frames of zstd are read', async () => {
    const one = 'one'.repeat(1000)
    assert.equal(await unpack(Buffer.concat([gzipSync(one), gzipSync('two')]), 'gzip'), `${one}two`)
    assert.equal(await unpack(Buffer.concat([zstdCompressSync(one), zstdCompressSync('two')]), 'zstd'), `${one}two`)
    const mixed = [skipped, zstdCompressSync('one'), skipped, zstdCompressSync(''), zstdCompressSync('two'), skipped]
    assert.equal(await unpack(Buffer.concat(mixed), 'zstd'), 'onetwo')
    assert.equal(await unpack(skipped, 'zstd'), '')
    const full = zstdCompressSync(Buffer.alloc(mostBytes, 'ab'))
    assert.equal((await unpack(Buffer.concat([full, skipped]), 'zstd')).length, mostBytes)
  })

  test('what follows the end is never passed over', async () => {
    const packers = { gzip: gzipSync, zstd: zstdCompressSync, br: brotliCompressSync }
    for (const [encoding, pack] of Object.entries(packers)) {
      const whole = Buffer.from(pack('one'))
      assert.equal(await unpack(whole, encoding), 'one')
      assert.equal(await refusal(Buffer.concat([whole, Buffer.from('more')]), encoding), 'bad-encoding', encoding)
      assert.equal(await refusal(whole.subarray(0, -1), encoding), 'bad-encoding', encoding)
    }
    const cut = zstdCompressSync('two').subarray(0, -1)
    assert.equal(await refusal(Buffer.concat([zstdCompressSync('one'), cut]), 'zstd'), 'bad-encoding')
  })

  test('frames have one limit together, of bytes and of their number', async () => {
    const half = zstdCompressSync(Buffer.alloc(mostBytes / 2, 'ab'))
    assert.equal((await unpack(Buffer.concat([half, half]), 'zstd')).length, mostBytes)
    assert.equal(await refusal(Buffer.concat([half, half, zstdCompressSync('c')]), 'zstd'), 'body-too-large')
    assert.equal(await refusal(Buffer.concat(Array.from({ length: 1001 }, () => skipped)), 'zstd'), 'bad-encoding')
  })
})
