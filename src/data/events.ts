import type { FrazilError } from '../base/index.ts'
import type { Segment } from './segment.ts'
import type { Field } from './types.ts'

/** How far a source has been read: text that only the source can compare. */
export type Position = string

/** How rows of a table are told apart. */
export type TableKey =
  /** By these columns (positions in `fields`). A source may still replace the key of a row. */
  | { readonly kind: 'columns'; readonly columns: readonly number[] }
  /** By all of its values: equal rows are a multiset, a delete removes one of them. */
  | { readonly kind: 'row' }
  /** Not at all: rows are only appended. */
  | { readonly kind: 'none' }

/** A table as its source describes it. Field ids are 0 until the catalog has assigned them. */
export interface SourceTable {
  /** Stable within the source, for example Postgres's oid. */
  readonly id: string
  /** Name at the source as a person writes it, for messages: `public.orders`. */
  readonly sourceName: string
  /** Iceberg namespace and table. */
  readonly namespace: string
  readonly name: string
  readonly fields: readonly Field[]
  readonly key: TableKey
  /**
   * What each field is at the source whatever its name and type are now (Postgres: its attribute number), parallel to `fields`: a
   * renamed column keeps its id, one that was dropped and added again has another. Absent: names are what identifies.
   */
  readonly columnIds?: readonly number[]
  /** Positions of fields that rows from before do not have: what they have instead the source does not tell. */
  readonly incomplete?: readonly number[]
  /** What the source wants to find again about this shape of the table, as JSON text. */
  readonly memo?: string
}

/** A source transaction that is given out before its end is known, beside others, and the part of it that can be rolled back alone. */
export interface StreamedPart {
  /** A number that no other open transaction has. */
  readonly transaction: number
  /** Its number within the transaction; never used again once it was rolled back. */
  readonly part: number
}

/**
 * Changed rows of one table inside the open source transaction (or in a `streamed` one, of which several may be open), in the order in which they happened.
 * - `insert`: rows [from, to) are new; no look-up is done.
 * - `upsert`: rows [from, to) replace the rows with the same key, if there are any; `must-exist` sources (Postgres updates)
 *   say so, and a missing row is then an error.
 * - `update`: row from+i replaces the row whose key is keys row keysFrom+i.
 * - `delete`: the rows whose keys are keys rows [from, to) go.
 *
 * `unchanged`: columns (positions in `fields`, none of the key's) whose values did not change and were not sent. The cells of these
 * rows mean nothing there; their values are those of the row that is replaced. Without such a row that is an error.
 *
 * `segment` has the table's columns; `keys` has only the key's columns, in key order (all columns for key kind `row`). After the table was
 * copied anew `keys` may still have all columns, until the source tells of it again: the copy found a key that the source did not rely on.
 */
export type Change = { readonly streamed?: StreamedPart } & (
  | { readonly type: 'insert'; readonly table: string; readonly segment: Segment; readonly from: number; readonly to: number }
  | {
      readonly type: 'upsert'
      readonly table: string
      readonly segment: Segment
      readonly from: number
      readonly to: number
      readonly mustExist: boolean
      readonly unchanged?: readonly number[]
    }
  | {
      readonly type: 'update'
      readonly table: string
      readonly segment: Segment
      readonly from: number
      readonly to: number
      readonly keys: Segment
      readonly keysFrom: number
      readonly unchanged?: readonly number[]
    }
  | {
      readonly type: 'delete'
      readonly table: string
      readonly keys: Segment
      readonly from: number
      readonly to: number
      readonly mustExist: boolean
    }
  | { readonly type: 'truncate'; readonly table: string }
)

/** A part of a table's copy that is complete. */
export interface CopiedPart {
  readonly part: number
  /** What was committed up to here is in the part. */
  readonly floor: Position
  /** What the source wants to find again about the part. */
  readonly memo: string
}

/** How the copy of a table begins. */
export interface CopyStart {
  /** About how many rows there will be in all; null where nobody knows. */
  readonly estimatedRows: number | null
  /** What the source wants to find again about a copy in parts, which may go on after an interruption; absent for any other. */
  readonly plan?: string
  /** The parts that are complete stay as they are; absent: none are, or they are worth nothing. */
  readonly resumes?: boolean
}

/** What a source tells the engine. Asking for the next array of events is the global backpressure. */
export type SourceEvent =
  | Change
  /**
   * The open transaction ends, or the streamed one that is named: its rows may become visible, all at once. `position` lies after it.
   */
  | { readonly type: 'commit'; readonly position: Position; readonly timeMs: number; readonly transaction?: number }
  /** A streamed transaction, or a part of it, or what it changed in one table, has not happened: forget it. */
  | { readonly type: 'rollback'; readonly transaction: number; readonly part: number | null; readonly table: string | null }
  /** What is open, streamed or not, will come again or never happened: forget what it changed. */
  | { readonly type: 'abort' }
  /** Nothing happened up to `position`, and no transaction is open. */
  | { readonly type: 'progress'; readonly position: Position }
  /**
   * The copy of a table begins (`copying`), or begins again: what changes until `copied` is kept by whoever takes the events. Or, without
   * it, a table that is copied has changed its shape: an event of the open transaction, before its first rows of that shape. What came
   * before, in this transaction too, has the old shape.
   */
  | {
      readonly type: 'table'
      readonly table: SourceTable
      readonly streamed?: StreamedPart
      readonly copying?: CopyStart
    }
  /**
   * The snapshot has been taken that rows of a copy come from until its next `table` event: they have what was committed up to `floor`,
   * and with it all that was given out before that event. Without it whoever takes the events remembers every transaction until
   * `copied`.
   */
  | { readonly type: 'copying-from'; readonly table: string; readonly floor: Position }
  /**
   * Rows of an initial copy, outside transactions: no look-ups, not visible before `copied`. `part`: of a copy in parts; without it, rows
   * that take the place of those with the same key in parts of an earlier moment.
   */
  | {
      readonly type: 'copy'
      readonly table: string
      readonly segment: Segment
      readonly from: number
      readonly to: number
      readonly part?: number
    }
  /** All rows of a part were given out. */
  | ({ readonly type: 'copied-part'; readonly table: string; readonly rows: number } & CopiedPart)
  /**
   * The copy is complete, with all that was committed up to `floor`: changes of transactions at or before it are forgotten. The table
   * joins the views with the first commit at or past `floor`. `rows`: those given out since its `table` event.
   *
   * Parts of an earlier moment have what was committed up to their own `floor`. What was changed between that and `floor` has come anew,
   * as rows of a later part or of none: of their rows those whose keys came again, and those whose keys a transaction between the two
   * floors names, are gone.
   */
  | { readonly type: 'copied'; readonly table: string; readonly floor: Position; readonly rows: number }
  /** This table cannot go on; the others do. `copying`: only its copy cannot; rows that the lake has from before are not affected. */
  | { readonly type: 'failed'; readonly table: string; readonly error: FrazilError; readonly copying?: boolean }
  /** A scope (a Kafka partition; Postgres has one) is ours, goes away within the deadline, or is gone. */
  | { readonly type: 'assigned'; readonly scope: string }
  | { readonly type: 'revoked'; readonly scope: string; readonly deadlineMs: number }
  | { readonly type: 'lost'; readonly scope: string }
  /** The stream is open. Tables may still be copied. */
  | { readonly type: 'streaming' }

/** Whether an event is a change of a table's rows. */
export function isChange(event: SourceEvent): event is Change {
  const { type } = event
  return type === 'insert' || type === 'upsert' || type === 'update' || type === 'delete' || type === 'truncate'
}
