import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import { decodeValue, defaultText, isPromotion, sameType } from '../../data/index.ts'
import type { Field, SourceTable, TableKey } from '../../data/index.ts'
import { matchColumns } from './column-match.ts'
import { KeptColumns } from './kept-columns.ts'
import type { Draft } from './kept-columns.ts'
import type { Relation } from './relation.ts'
import { writeShapeMemo } from './shape-memo.ts'
import type { ShapeMemo } from './shape-memo.ts'
import type { OldRows, TableDescription } from './table-description.ts'
import type { CodecOf, ColumnSetting, PlannedColumn } from './table-plan.ts'
import type { Codec } from './types/index.ts'

/** A table as the stream had it last. */
export interface KnownTable {
  readonly table: SourceTable
  /** Those of the table's first fields; behind them are fields of {@link KeptColumns}. */
  readonly columns: readonly PlannedColumn[]
  readonly memo: ShapeMemo
}

/** How columns are read. */
export interface ColumnRules {
  readonly codecOf: CodecOf
  settingOf(sourceName: string, column: string): ColumnSetting | null
  /** Whether a column that takes a type which its values cannot follow leaves them behind: see {@link KeptColumns}. */
  leavesBehind(table: SourceTable): boolean
}

/**
 * What a Relation message means, with what the catalogue says when it has arrived: the table as it is from here on, the same
 * object when nothing changed that matters. Throws `unsupported` when rows that were sent before cannot be told as they are now at
 * the source: the table has to be copied anew.
 *
 * @param isLatest the message is what the catalogue says, and everything before has come.
 */
export function settleShape(
  known: KnownTable,
  relation: Relation,
  description: TableDescription | null,
  rules: ColumnRules,
  isLatest = false,
): KnownTable {
  const cannot = (
    why: string,
    code = 'schema-changed',
    hint = 'frazil resync the table: it is copied anew in its new shape',
  ): never => {
    const { sourceName, namespace, name } = known.table
    throw new FrazilError('unsupported', code, `table ${sourceName} ${why}`, { table: `${namespace}.${name}`, hint })
  }
  if (description === null) {
    // Dropped at the source by now, and perhaps made anew: rows from before are read as long as they look as they did.
    if (isAsKnown(known, relation)) return known
    return (
      (looksAsBefore(known, relation) && withOtherKey(known, relation)) || cannot('was changed and then dropped at the source')
    )
  }
  const ids = matchColumns(
    { columns: known.columns, highest: known.memo.highest, ignored: known.memo.ignored },
    relation.columns.map((column) => ({ ...column, length: description.lengthOf(column.typeOid) })),
    description.attributes,
  )
  if (!ids) return cannot('was changed while this was not being read, in a way that can be understood as two things')
  if (isListedOtherwise(known, relation, ids, description))
    return cannot('is published with other columns than before, whose values in the rows that are there nobody knows')
  const leavesBehind = rules.leavesBehind(known.table)
  const isOpen = description.rewritten === true && !isExplained(known, relation, ids, description, leavesBehind)
  // What a later message says may explain it.
  if (isOpen && (isLatest || !leavesBehind))
    return cannot('was written anew at the source with other values, of which the stream does not tell')
  const before = new Map(known.columns.map((column, place) => [column.id, { column, field: known.table.fields[place] }]))
  const attributes = new Map(description.attributes.map((attribute) => [attribute.id, attribute]))
  const wasRewritten = description.storage !== known.memo.storage

  const kept = new KeptColumns(known.table, known.columns.length)
  const columns: PlannedColumn[] = []
  const fields: Draft[] = []
  const ignored: number[] = []
  for (const [i, seen] of relation.columns.entries()) {
    const id = ids[i]
    const now = attributes.get(id)
    const prior = before.get(id)
    if (!prior && (!now || now.dropped)) {
      // It came and went: what older rows had in it nobody can say any more, and nobody will ask.
      ignored.push(id)
      continue
    }
    const { name, typeOid, modifier } = seen
    const setting = prior ? prior.column.setting : rules.settingOf(known.table.sourceName, name)
    const codec =
      rules.codecOf(typeOid, modifier, setting) ?? cannot(`has column "${name}" of a type that is not known`, 'unsupported-type')
    columns.push({ id, name, typeOid, modifier, codec, setting })
    if (prior) {
      const { type } = prior.field
      const isSame = sameType(type, codec.type) && keepsValues(prior.column, seen, codec, wasRewritten)
      if (leavesBehind && !isSame && !isPromotion(type, codec.type)) {
        kept.leaveBehind(id, prior.field)
        fields.push({ id: 0, name, type: codec.type })
        continue
      }
      if (!keepsValues(prior.column, seen, codec, wasRewritten))
        cannot(`has another type for column "${name}", by which its values may be others`)
      const { initialDefault } = prior.field
      fields.push({ id: 0, name, type: codec.type, ...(initialDefault === undefined ? {} : { initialDefault }) })
    } else {
      const isSame = now && !now.dropped && now.typeOid === typeOid && now.modifier === modifier
      const old: OldRows = isSame ? description.oldRows(id, known.memo.storage) : { kind: 'unknown' }
      const initial = old.kind === 'value' ? defaultOf(codec, old.bytes) : undefined
      if (old.kind === 'unknown' || initial === null) {
        cannot(`has a new column "${name}" with a value of its own in each row that was there, which the stream does not tell`)
      }
      fields.push({
        id: 0,
        name,
        type: codec.type,
        ...(typeof initial === 'string' ? { initialDefault: initial, writeDefault: initial } : {}),
      })
    }
  }
  if (known.table.key.kind !== 'none' && hasUnsentKey(description, ids))
    return cannot(
      'has a generated column in its key, which is not sent',
      'no-identity',
      'give it a primary key of columns that are not generated, then frazil resync it',
    )
  const isUnique = known.memo.primary !== undefined && known.memo.primary === description.primaryIndex
  const key = keyOf(known, relation, isUnique || isLatest ? description.primaryKey : null, ids, columns)
  if (!key)
    return cannot(
      'has no replica identity any more',
      'no-identity',
      'give it a primary key or REPLICA IDENTITY FULL, then frazil resync it',
    )
  const incomplete = columns.flatMap(({ id }, place) => (kept.isRetyped(id) ? [place] : []))
  if (!findsOldRows(key, incomplete)) return cannot('has another type for a column by which its rows are told apart')
  const beside = kept.beside(columns)

  const isCurrent = isDescribed(relation, ids, description)
  const memo: ShapeMemo = {
    // Later files may be those of a change that is still to come.
    storage: isCurrent ? description.storage : known.memo.storage,
    highest: isCurrent ? description.highest : Math.max(known.memo.highest, ...ids),
    ignored,
    primary: isUnique ? known.memo.primary : undefined,
    look: description.rewritten === null || isOpen ? known.memo.look : { storage: description.storage, xid: description.xid },
    sent: known.memo.sent,
    member: known.memo.member,
  }
  const isUnchanged =
    columns.length === known.columns.length &&
    columns.every((column, i) => isSameColumn(column, known.columns[i])) &&
    JSON.stringify(key) === JSON.stringify(known.table.key) &&
    JSON.stringify(ignored) === JSON.stringify(known.memo.ignored)
  if (isUnchanged) return { ...known, memo }
  const table: SourceTable = {
    ...known.table,
    fields: requiredBy(key, [...fields, ...beside.map(({ field }) => field)]),
    key,
    columnIds: [...columns.map(({ id }) => kept.identityOf(id)), ...beside.map(({ identity }) => identity)],
    incomplete,
    memo: writeShapeMemo(memo, columns),
  }
  return { table, columns, memo }
}

/** Whether a message tells of the columns and of the key that are known, as far as it can tell. */
export function isAsKnown(known: KnownTable, relation: Relation): boolean {
  if (!looksAsBefore(known, relation)) return false
  const { key } = known.table
  if (key.kind === 'none') return true
  if (key.kind !== 'columns' || relation.identity === 'f') return key.kind !== 'row' || relation.identity === 'f'
  return relation.columns.every((column, i) => column.key === key.columns.includes(i))
}

/** The table with the key that a message tells of and the catalogue does not any more; null when rows cannot be told apart by it. */
function withOtherKey(known: KnownTable, relation: Relation): KnownTable | null {
  const { table, columns } = known
  const ids = columns.map(({ id }) => id)
  const key = keyOf(known, relation, null, ids, columns)
  if (!key || !findsOldRows(key, table.incomplete ?? [])) return null
  return { ...known, table: { ...table, fields: requiredBy(key, table.fields), key } }
}

/** Whether rows are told apart by a column that does not come with them: the message flags the other columns of the key, as if they were all. */
function hasUnsentKey({ attributes, key }: TableDescription, ids: readonly number[]): boolean {
  return attributes.some((now) => !now.dropped && now.generated && !ids.includes(now.id) && (key?.includes(now.id) ?? false))
}

/** Whether rows of before are found by a key: by what they have, and they do not have the values of now of columns that left them behind. */
function findsOldRows(key: TableKey, incomplete: readonly number[]): boolean {
  return !incomplete.some((place) => key.kind === 'row' || (key.kind === 'columns' && key.columns.includes(place)))
}

/**
 * Whether a message may be one of another list of columns: somebody else's publication can be given one at any time, of columns that were there
 * before. Then a name that the column neither had nor has is another column's, and one that comes to a list may have had values before.
 */
function isListedOtherwise(
  { columns, memo: { sent } }: KnownTable,
  relation: Relation,
  ids: readonly number[],
  { attributes }: TableDescription,
): boolean {
  if (sent === undefined) return false
  return relation.columns.some(({ name }, i) => {
    const before = columns.find(({ id }) => id === ids[i])
    if (!before) return sent === 'listed'
    return before.name !== name && !attributes.some((now) => now.id === ids[i] && !now.dropped && now.name === name)
  })
}

/** The fields, of which those of the key have a value in each row. */
function requiredBy(key: TableKey, fields: readonly Draft[]): Field[] {
  const required = new Set(key.kind === 'columns' ? key.columns : [])
  return fields.map((field, i) => ({ ...field, required: required.has(i) }))
}

function looksAsBefore({ columns }: KnownTable, relation: Relation): boolean {
  return (
    relation.columns.length === columns.length &&
    relation.columns.every((seen, i) => isSameColumn({ ...columns[i], ...seen }, columns[i]))
  )
}

function isSameColumn(a: PlannedColumn, b: PlannedColumn): boolean {
  return a.id === b.id && a.name === b.name && a.typeOid === b.typeOid && a.modifier === b.modifier
}

/** Whether the catalogue still has the very columns of the message. */
function isDescribed(relation: Relation, ids: readonly number[], { attributes }: TableDescription): boolean {
  const live = attributes.filter((attribute) => !attribute.dropped && (!attribute.generated || ids.includes(attribute.id)))
  return (
    live.length === relation.columns.length &&
    live.every((now, i) => {
      const seen = relation.columns[i]
      if (now.dropped) return false
      const { id, name, typeOid, modifier } = now
      return id === ids[i] && name === seen.name && typeOid === seen.typeOid && modifier === seen.modifier
    })
  )
}

const varchar = 1043
const text = 25
const numeric = 1700
const isText = (oid: number): boolean => oid === varchar || oid === text

/** Whether rows were written anew because a type, of now or of the message, is another one for which Postgres does that always. */
function isExplained(
  { columns }: KnownTable,
  relation: Relation,
  ids: readonly number[],
  { attributes }: TableDescription,
  leavesBehind: boolean,
): boolean {
  const explains = (before: PlannedColumn, after: { readonly typeOid: number; readonly modifier: number }): boolean => {
    if (before.typeOid === after.typeOid && before.modifier === after.modifier) return false
    // Between these values stay as they are, and so do rows, unless the statement says how they become others.
    const isAlike = (isText(before.typeOid) && isText(after.typeOid)) || (before.typeOid === numeric && after.typeOid === numeric)
    return leavesBehind || !isAlike
  }
  const now = new Map(attributes.flatMap((attribute) => (attribute.dropped ? [] : [[attribute.id, attribute] as const])))
  return columns.some((column) => {
    const seen = relation.columns.find((_, i) => ids[i] === column.id)
    const latest = now.get(column.id)
    return (seen && explains(column, seen)) || (latest && explains(column, latest))
  })
}

/** Whether rows that were read with the old type have the values that the source now has. */
function keepsValues(
  before: PlannedColumn,
  after: { readonly typeOid: number; readonly modifier: number },
  codec: Codec,
  wasRewritten: boolean,
): boolean {
  if (before.typeOid === after.typeOid && before.modifier === after.modifier) return true
  // What the lake cannot follow is said where the lake's types are compared.
  if (isPromotion(before.codec.type, codec.type) || !sameType(before.codec.type, codec.type)) return true
  // Only what Postgres does without touching a row leaves every value as it is.
  if (!wasRewritten && before.codec.signature === codec.signature) return true
  if (codec.type.kind === 'int') return true
  return (
    isText(before.typeOid) &&
    isText(after.typeOid) &&
    (after.modifier < 0 || (before.modifier >= 0 && after.modifier >= before.modifier))
  )
}

/** The value of older rows as a field's default; null when Iceberg cannot say it. */
function defaultOf(codec: Codec, bytes: Buffer): string | null {
  if (codec.textOnly) return null
  const stored = new Uint8Array(codec.binary.bound(bytes, 0, bytes.length))
  const end = codec.binary.store(bytes, 0, bytes.length, stored, 0)
  if (end < 0) return null
  const value = decodeValue(codec.type, stored, 0, end)
  return value === null ? null : defaultText(codec.type, value)
}

/**
 * By which columns changes name their row from here on; null when they cannot.
 *
 * @param unique columns by which all rows are unique that are or will be there until the stream says otherwise; null: nobody knows any.
 */
function keyOf(
  { table, columns: before }: KnownTable,
  relation: Relation,
  unique: readonly number[] | null,
  ids: readonly number[],
  columns: readonly PlannedColumn[],
): TableKey | null {
  if (table.key.kind === 'none') return table.key
  const place = new Map(columns.map(({ id }, i) => [id, i]))
  const known = table.key.kind === 'columns' ? table.key.columns.map((i) => before[i].id) : []
  const byIds = (wanted: readonly number[]): TableKey | null => {
    const places = wanted.flatMap((id) => place.get(id) ?? [])
    return places.length === wanted.length && places.length > 0 ? { kind: 'columns', columns: places } : null
  }
  const isKnown = (wanted: readonly number[]): boolean =>
    wanted.length === known.length && wanted.every((id) => known.includes(id))
  if (relation.identity === 'f') {
    // All old values come: any key will do, as long as it was unique for all rows that are there.
    return (unique && isKnown(unique) ? byIds(known) : null) ?? { kind: 'row' }
  }
  const flagged = relation.columns.flatMap((column, i) => (column.key ? [ids[i]] : []))
  return byIds(isKnown(flagged) ? known : flagged)
}
