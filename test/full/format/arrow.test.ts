import { execFileSync } from 'node:child_process'
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkCase } from '../../format/arrow-cases.ts'
import type { ArrowCase } from '../../format/arrow-cases.ts'
import { pythonOf } from '../support/readers.ts'

test('every type that PyArrow writes is read as it is', async () => {
  const python = await pythonOf('python')
  const output = execFileSync(python, [join(import.meta.dirname, 'arrow_peer.py')], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const cases = output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ArrowCase)
  for (const one of cases) checkCase(one)
  const kept = await readFile(join(import.meta.dirname, '../../format/arrow-streams.jsonl'), 'utf8')
  const names = kept
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as ArrowCase).name)
  assert.deepEqual(
    cases.map(({ name }) => name),
    names,
    'the streams of the default tests are those of this script',
  )
})
