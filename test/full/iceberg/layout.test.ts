import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { seededRandom } from '../../../src/base/index.ts'
import { columnOf } from '../../../src/data/index.ts'
import type { PrimitiveType, Value } from '../../../src/data/index.ts'
import { resultType } from '../../../src/iceberg/index.ts'
import { singleValueAt, transformColumn } from '../../../src/iceberg/layout/index.ts'
import { parseTransform } from '../../../src/iceberg/layout/transform.ts'
import { python } from './readers.ts'

/** Values of a type, edge cases among them. */
function someValues(type: PrimitiveType): Value[] {
  const random = seededRandom(5)
  const many = Array.from({ length: 200 }, () => random.positive63())
  const signed = many.map((value, i) => (i % 2 === 0 ? value : -value))
  switch (type.kind) {
    case 'int':
    case 'date':
      // Years 1 to 9999 of dates, which Python has.
      return [
        0,
        -1,
        1,
        type.kind === 'int' ? 2 ** 31 - 1 : 2_932_896,
        -719_162,
        ...signed.map((value) => Number(BigInt.asIntN(20, value))),
      ]
    case 'long':
      return [0n, -1n, 2n ** 62n, ...signed]
    case 'time':
      return [0n, 86_399_999_999n, ...many.map((value) => value % 86_400_000_000n)]
    case 'timestamp':
    case 'timestamptz':
      return [0n, -1n, -62_135_596_800_000_000n, ...signed.map((value) => value % 62_000_000_000_000_000n)]
    case 'decimal':
      return [0n, -1n, 127n, 128n, -129n, ...signed.map((value) => value % 10n ** BigInt(Math.min(type.precision, 18)))]
    case 'string':
      return ['', 'a', 'iceberg', '🧊🧊🧊🧊', 'größe', ...many.map(String)]
    default:
      return many.map((value) => {
        const bytes = new Uint8Array(16)
        new DataView(bytes.buffer).setBigInt64(3, value)
        return bytes
      })
  }
}

const types: readonly PrimitiveType[] = [
  { kind: 'int' },
  { kind: 'long' },
  { kind: 'date' },
  { kind: 'time' },
  { kind: 'timestamp' },
  { kind: 'timestamptz' },
  { kind: 'decimal', precision: 9, scale: 2 },
  { kind: 'decimal', precision: 18, scale: 2 },
  { kind: 'decimal', precision: 38, scale: 2 },
  { kind: 'string' },
  { kind: 'uuid' },
  { kind: 'binary' },
  { kind: 'fixed', length: 16 },
]

/** PyIceberg's transforms of values in single-value form, as the same. */
const program = `
import json, sys
from pyiceberg.conversions import from_bytes, to_bytes
from pyiceberg.transforms import parse_transform
from pyiceberg.types import IcebergType
from pyiceberg.typedef import IcebergBaseModel
class Box(IcebergBaseModel):
    type: IcebergType
for line in sys.stdin:
    asked = json.loads(line)
    source = Box.model_validate({"type": asked["type"]}).type
    transform = parse_transform(asked["transform"])
    apply, result = transform.transform(source), transform.result_type(source)
    answers = []
    for value in asked["values"]:
        out = apply(from_bytes(source, bytes.fromhex(value)))
        answers.append(None if out is None else to_bytes(result, out).hex())
    print(json.dumps(answers))
`

describe('partition transforms and partitioned tables, by other implementations', () => {
  let folder = ''

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-layout-'))
  })

  after(() => rm(folder, { recursive: true }))

  test('iceberg check 46: transforms equal those of PyIceberg', async () => {
    const cases = types.flatMap((type) =>
      ['identity', 'bucket[16]', 'bucket[997]', 'truncate[3]', 'truncate[100]', 'year', 'month', 'day', 'hour'].flatMap(
        (text) => {
          const transform = parseTransform(text)
          return transform && resultType(transform, type) ? [{ type, text, transform }] : []
        },
      ),
    )
    const hex = (bytes: Uint8Array | null): string | null => bytes && Buffer.from(bytes).toString('hex')
    const asked: string[] = []
    const ours: (string | null)[][] = []
    for (const { type, text, transform } of cases) {
      const values = someValues(type)
      const column = columnOf({ id: 1, name: 'c', type, required: true }, values)
      const rows = Int32Array.from(values, (_, i) => i)
      const sources = transformColumn({ kind: 'identity' }, column, rows)
      const results = transformColumn(transform, column, rows)
      const name =
        type.kind === 'decimal'
          ? `decimal(${type.precision}, ${type.scale})`
          : type.kind === 'fixed'
            ? `fixed[${type.length}]`
            : type.kind
      asked.push(JSON.stringify({ type: name, transform: text, values: values.map((_, i) => hex(singleValueAt(sources, i))) }))
      ours.push(values.map((_, i) => hex(singleValueAt(results, i))))
    }
    const output = execFileSync(await python('python'), ['-c', program], {
      input: asked.join('\n'),
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    })
    const theirs = output.trim().split('\n')
    assert.equal(theirs.length, cases.length)
    for (const [i, { type, text }] of cases.entries()) assert.deepEqual(ours[i], JSON.parse(theirs[i]), `${text} of ${type.kind}`)
  })
})
