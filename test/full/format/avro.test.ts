import { execFileSync } from 'node:child_process'
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { avroToJsonLines } from '../../../src/format/avro/index.ts'
import { pythonOf } from '../support/readers.ts'

interface AvroCase {
  readonly name: string
  readonly file: string
  readonly lines: readonly string[]
}

function casesOf(text: string): AvroCase[] {
  const lines = text.trim().split('\n')
  return lines.map((line) => JSON.parse(line) as AvroCase)
}

test('every type that fastavro writes is read as it is', async () => {
  const python = await pythonOf('python')
  const written = casesOf(
    execFileSync(python, [join(import.meta.dirname, 'avro_peer.py')], { encoding: 'utf8', maxBuffer: 2 ** 26 }),
  )
  for (const { name, file, lines } of written) {
    const read = avroToJsonLines(Buffer.from(file, 'base64')).toString()
    assert.equal(read, lines.map((line) => `${line}\n`).join(''), name)
  }
  const kept = casesOf(await readFile(join(import.meta.dirname, '../../format/avro-files.jsonl'), 'utf8'))
  const asked = (cases: readonly AvroCase[]): unknown => cases.map(({ name, lines }) => ({ name, lines }))
  assert.deepEqual(asked(written), asked(kept), 'the files of the default tests are those of this script')
})
