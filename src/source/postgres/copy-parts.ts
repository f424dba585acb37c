import type { CopiedPart } from '../../data/index.ts'
import { quoteName } from './identifiers.ts'
import { parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import type { TablePlan } from './table-plan.ts'

// Copies of large tables go by parts, which are page ranges, and go on after an interruption with the parts that are left, in a new
// snapshot. What has changed in the complete ones since is read again: rows that were written by a transaction that had not ended when
// their snapshot was taken. See docs/decisions, "Interrupted copies go on".

/** Little to do again, and a data file of a good size. */
const defaultPartBytes = 128 << 20
/** Of Postgres as it is nearly always built; with other pages, parts are of another size. */
const pageBytes = 8192

/** Pages of a part of so many bytes. */
export function partPages(bytes = defaultPartBytes): number {
  return Math.max(1, Math.floor(bytes / pageBytes))
}

/** A relation whose rows are a table's: the table itself, or a leaf partition. */
export interface Relation {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** An ordinary heap, whose rows can be asked for by their pages. */
  readonly heap: boolean
  readonly pages: number
  /** Number of the file that has its rows: another one once it was truncated or rewritten. */
  readonly file: number
}

/** A table as it is at the server now, as far as its copy is concerned. */
export interface CopiedTable {
  readonly plan: TablePlan
  readonly relations: readonly Relation[]
  /** Text that changes with its columns. */
  readonly columns: string
  /** The next transaction's id, 64 bits. */
  readonly nextXid: bigint
}

/** Pages [from, to) of a relation; `to` null: to the end, wherever that is. */
export interface PageRange {
  readonly oid: number
  readonly relation: string
  readonly from: number
  readonly to: number | null
}

/** What is done of a copy in parts. */
export interface PartialCopy {
  readonly plan: string
  /** By part. */
  readonly complete: Map<number, CompletePart>
}

export interface CompletePart {
  readonly floor: Lsn
  /** Transactions below this id had ended when the part's snapshot was taken; 64 bits. */
  readonly xmin: bigint
}

/** A plan as it is remembered. */
interface PartsPlan {
  readonly version: 1
  /** Where the slot began that has all changes since. */
  readonly start: string
  readonly columns: string
  readonly partPages: number
  readonly relations: readonly { readonly oid: number; readonly file: number; readonly parts: number }[]
}

/** Transactions after which ids of 32 bits are not compared any more; half of those that they could be. */
const maxXids = 1n << 30n

/** Whether a copy of the table is worth its parts, and can go on: rows need a key, and pages. */
export function isInParts({ plan, relations }: CopiedTable, partPages: number): boolean {
  const pages = relations.reduce((sum, relation) => sum + relation.pages, 0)
  return plan.source.key.kind === 'columns' && !plan.loose && relations.every(({ heap }) => heap) && pages > partPages
}

/** The plan of a copy that begins. */
export function planParts({ relations, columns }: CopiedTable, start: string, partPages: number): string {
  return JSON.stringify({
    version: 1,
    start,
    columns,
    partPages,
    relations: relations.map(({ oid, file, pages }) => ({ oid, file, parts: Math.max(1, Math.ceil(pages / partPages)) })),
  } satisfies PartsPlan)
}

/** The parts of a plan, by number. */
export function partsOf(text: string, { relations }: CopiedTable): PageRange[] {
  const { partPages, relations: planned } = readPlan(text)
  return planned.flatMap(({ oid, parts }) => {
    const found = relations.find((relation) => relation.oid === oid)
    const relation = found ? `${quoteName(found.schema)}.${quoteName(found.name)}` : ''
    return Array.from({ length: parts }, (_, i) => {
      return { oid, relation, from: i * partPages, to: i + 1 < parts ? (i + 1) * partPages : null }
    })
  })
}

/** Why a copy cannot go on, in words; null when it can. */
export function whyAgain({ plan: text, complete }: PartialCopy, now: CopiedTable, start: string): string | null {
  let plan: PartsPlan
  try {
    plan = readPlan(text)
  } catch {
    return 'another version of frazil began it'
  }
  if (plan.start !== start) return 'the replication slot is another one'
  if (plan.columns !== now.columns) return 'its columns have changed'
  const files = (relations: readonly { oid: number; file: number }[]): string =>
    relations
      .map(({ oid, file }) => `${oid} ${file}`)
      .sort()
      .join()
  if (files(plan.relations) !== files(now.relations)) return 'it was truncated or rewritten, or has other partitions'
  for (const { xmin } of complete.values()) if (now.nextXid - xmin > maxXids) return 'it was interrupted too long ago'
  return null
}

export function completePart({ floor, memo }: CopiedPart): CompletePart {
  return { floor: parseLsn(floor), xmin: BigInt(memo) }
}

/** Throws for a plan of another version; whatever else it is, we have written it. */
function readPlan(text: string): PartsPlan {
  const plan: unknown = JSON.parse(text)
  if (typeof plan !== 'object' || plan === null || !('version' in plan) || plan.version !== 1) throw new SyntaxError('a plan')
  return plan as PartsPlan
}
