import { createHash } from 'node:crypto'
import { assert } from '../base/index.ts'
import type { Random } from '../base/index.ts'

/** Which lake's process named something: the epoch is that of its lease. */
export interface WriterMark {
  /** The lake's id, shortened. */
  readonly lake: string
  readonly epoch: number
}

const epochDigits = 6
const lakeDigits = 8
const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'

/** The names of objects below a table's location that we write, and nothing that looks different. */
const ownNames = new RegExp(
  `^(?:data/(?:[0-9a-f]{8}/)?(?<data>${uuid})(?:(?:-\\d{5,})?\\.parquet|-deletes\\.puffin)` +
    `|metadata/(?:(?<manifest>${uuid})-m\\d+\\.avro|snap-\\d+-1-(?<list>${uuid})\\.avro|\\d{5,}-(?<json>${uuid})(?:\\.gz)?\\.metadata\\.json))$`,
)

/** How a lake's id stands in a mark. */
export function markedLake(lakeId: string): string {
  return createHash('sha256').update(lakeId).digest('hex').slice(0, lakeDigits)
}

/**
 * Chance whose uuids tell who made them: version 8 (RFC 9562), the last 14 digits are epoch and lake, the others random. They
 * name the files that a process writes, so that later ones know its files from those of other engines, which write into the
 * same folders under similar names.
 */
export function markedRandom(random: Random, { lake, epoch }: WriterMark): Random {
  assert(epoch < 16 ** epochDigits, 'an epoch fits into a mark')
  const mark = epoch.toString(16).padStart(epochDigits, '0') + lake
  return {
    next: () => random.next(),
    below: (bound) => random.below(bound),
    positive63: () => random.positive63(),
    uuid() {
      const digits = random.uuid().replaceAll('-', '').slice(0, -mark.length) + mark
      return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-8${digits.slice(13, 16)}-${digits.slice(16, 20)}-${digits.slice(20)}`
    },
  }
}

/** Who wrote an object; null for anything that is not plainly one of ours. `path` is what follows the table's location. */
export function markOf(path: string): WriterMark | null {
  const groups = ownNames.exec(path)?.groups
  const id = groups?.data ?? groups?.manifest ?? groups?.list ?? groups?.json
  if (id === undefined || id[14] !== '8') return null
  const digits = id.replaceAll('-', '')
  return {
    lake: digits.slice(-lakeDigits),
    epoch: Number.parseInt(digits.slice(-lakeDigits - epochDigits, -lakeDigits), 16),
  }
}
