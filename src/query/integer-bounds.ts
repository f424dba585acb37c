import type { Field } from '../data/index.ts'
import { integerBucket } from '../iceberg/index.ts'
import type { ColumnBucket } from '../iceberg/index.ts'
import { bucketsOf, columnStats } from '../table/index.ts'
import type { ViewFile } from './contract.ts'
import { distinctNames, foldCase } from './duck-types.ts'
import { boundValue } from './file-filter.ts'
import type { Comparison, Condition, Constant } from './filters.ts'
import type { SentParameter } from './messages.ts'

/** What the bounds and buckets of integer columns say of files. */
export interface IntegerTest {
  /** False: no row of the file meets the condition. */
  readonly mayHave: (file: ViewFile) => boolean
  /** Whether no other column or constant is in it, of which DuckDB may know more. */
  readonly isWhole: boolean
}

const nothingKnown: IntegerTest = { mayHave: () => true, isWhole: false }

interface Bounds {
  readonly mayBeNull: boolean
  readonly mayBePresent: boolean
  readonly lower: bigint | null
  readonly upper: bigint | null
  readonly buckets: readonly ColumnBucket[]
}

/**
 * The test of files for rows that meet one of the conditions. Integers of any width compare as what they are, so none of DuckDB's rules
 * are needed for them; asking it costs more than many a query.
 */
export function integerTest(
  conditions: readonly Condition[],
  fields: readonly Field[],
  params: readonly SentParameter[],
): IntegerTest {
  const names = distinctNames(fields.map(({ name }) => name)).map(foldCase)
  const testOf = (condition: Condition): IntegerTest => {
    if (condition.kind === 'all' || condition.kind === 'any') {
      if (condition.alike?.some((value) => integerOf(value, params) === null)) return nothingKnown
      return combined(condition.kind, condition.of.map(testOf))
    }
    const index = names.indexOf(foldCase(condition.column))
    const kind = index < 0 ? null : fields[index].type.kind
    if (kind !== 'int' && kind !== 'long') return nothingKnown
    const field = fields[index]
    if (condition.kind !== 'compare') {
      const flag = condition.kind === 'null' ? 'mayBeNull' : 'mayBePresent'
      return whole((file) => boundsOf(file, field)[flag])
    }
    const { op } = condition
    const value = integerOf(condition.value, params)
    if (value === null) return nothingKnown
    return whole((file) => {
      const bounds = boundsOf(file, field)
      return mayCompare(bounds, op, value) && (op !== '=' || mayBeInBuckets(bounds, value))
    })
  }
  return combined('any', conditions.map(testOf))
}

function whole(mayHave: IntegerTest['mayHave']): IntegerTest {
  return { mayHave, isWhole: true }
}

function combined(kind: 'all' | 'any', tests: readonly IntegerTest[]): IntegerTest {
  const isWhole = tests.every((test) => test.isWhole)
  if (kind === 'all') return { mayHave: (file) => tests.every((test) => test.mayHave(file)), isWhole }
  return { mayHave: (file) => tests.some((test) => test.mayHave(file)), isWhole }
}

/** The integer that DuckDB compares with; null for other types, and for numbers that it is given as floating-point ones. */
function integerOf(value: Constant, params: readonly SentParameter[]): bigint | null {
  if ('sql' in value) return value.integer ?? null
  const param = params[value.parameter - 1]
  if (typeof param === 'bigint') return param
  return typeof param === 'number' && Number.isSafeInteger(param) ? BigInt(param) : null
}

function mayCompare({ mayBePresent, lower, upper }: Bounds, op: Comparison, value: bigint): boolean {
  if (!mayBePresent) return false
  switch (op) {
    case '=':
      return (lower === null || lower <= value) && (upper === null || upper >= value)
    case '<':
      return lower === null || lower < value
    case '<=':
      return lower === null || lower <= value
    case '>':
      return upper === null || upper > value
    case '>=':
      return upper === null || upper >= value
  }
}

function mayBeInBuckets({ buckets }: Bounds, value: bigint): boolean {
  return BigInt.asIntN(64, value) !== value || buckets.every(({ of, bucket }) => integerBucket(value, of) === bucket)
}

/** Bounds that were read once, by the field id of the column. */
const read = new WeakMap<ViewFile, Map<number, Bounds>>()

function boundsOf(file: ViewFile, field: Field): Bounds {
  let columns = read.get(file)
  if (!columns) read.set(file, (columns = new Map()))
  let bounds = columns.get(field.id)
  if (!bounds) {
    const stats = file.stats ? columnStats(file.stats, field.id) : null
    const { mayBeNull = true, mayBePresent = true, lower = null, upper = null } = stats ?? {}
    columns.set(
      field.id,
      (bounds = {
        mayBeNull,
        mayBePresent,
        lower: integerBound(field, lower),
        upper: integerBound(field, upper),
        buckets: file.stats ? bucketsOf(file.stats, field.id) : [],
      }),
    )
  }
  return bounds
}

function integerBound(field: Field, bytes: Uint8Array | null): bigint | null {
  const value = boundValue(field, bytes)
  return typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) : null
}
