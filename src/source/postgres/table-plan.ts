import { FrazilError } from '../../base/index.ts'
import type { Field, SourceTable, TableKey } from '../../data/index.ts'
import { isLoose } from './borrowed-publication.ts'
import type { BorrowedPublication } from './borrowed-publication.ts'
import type { CandidateRow, RelationRow, TableFacts } from './catalogue-questions.ts'
import { icebergName, quoteName, showName } from './identifiers.ts'
import { writeShapeMemo } from './shape-memo.ts'
import type { ShapeMemo } from './shape-memo.ts'
import type { Codec, OutOfRange } from './types/index.ts'

/** How a column is read other than its source's columns are: as the text that Postgres prints, or by a rule of its own. */
export type ColumnSetting = 'text' | OutOfRange

/** A column as the catalogue has it, and how it is read. */
export interface PlannedColumn {
  /** Attribute number: given once in a table's life. */
  readonly id: number
  readonly name: string
  readonly typeOid: number
  readonly modifier: number
  readonly codec: Codec
  /** What the settings say of this column; null for nothing. */
  readonly setting: ColumnSetting | null
}

/** A table that will be read, as it is now. `columns` are those of `source.fields`. */
export interface TablePlan {
  readonly oid: number
  readonly schema: string
  readonly table: string
  readonly partitioned: boolean
  readonly columns: readonly PlannedColumn[]
  /** All columns as Postgres writes them, for people, also those that are not mirrored. */
  readonly shown: readonly { readonly name: string; readonly type: string }[]
  /** Condition of the rows that are published, as SQL; null for all of them. */
  readonly filter: string | null
  /** Changes may speak of rows that the lake does not have, or has already. */
  readonly loose: boolean
  /** Oid of the index that the key is of; null for a key without one. */
  readonly index: number | null
  readonly memo: ShapeMemo
  readonly source: SourceTable
}

/** A table that cannot be read, and why. The others go on. */
export interface LeftOut {
  readonly id: string
  readonly sourceName: string
  readonly error: FrazilError
}

/** The codec of a type with its modifier, in a column with this setting; null when the type is not known. */
export type CodecOf = (typeOid: number, modifier: number, setting: ColumnSetting | null) => Codec | null

export interface PlanRequest {
  readonly source: string
  readonly into: string | null
  /** Publication whose tables need no right to be added. */
  readonly publication: string
  /** What that one sends, if it is not ours. */
  readonly borrowed: BorrowedPublication | null
}

/** How a table's columns are read. */
export interface PlanRules {
  /** `server_version_num` */
  readonly version: number
  readonly codecOf: CodecOf
  settingOf(sourceName: string, column: string): ColumnSetting | null
}

/** How a table is read, by what the catalogue says of it. Throws `unsupported` when it cannot be. */
export function planTable(relation: RelationRow, facts: TableFacts, rules: PlanRules, request: PlanRequest): TablePlan {
  const sourceName = showName(relation.schema, relation.name)
  const { source, into, publication, borrowed } = request
  const target = icebergName(into, source, relation.schema, relation.name)
  const refuse = (code: string, message: string, hint: string): FrazilError =>
    new FrazilError('unsupported', code, `table ${sourceName} ${message}`, { hint, table: `${target.namespace}.${target.name}` })
  const sql = `${quoteName(relation.schema)}.${quoteName(relation.name)}`
  if (relation.persistence === 'u') {
    throw refuse('unlogged-table', 'is unlogged, so its changes are not in the log', `ALTER TABLE ${sql} SET LOGGED`)
  }
  if (facts.chosenRoot) {
    const root = showName(facts.chosenRoot.schema, facts.chosenRoot.name)
    const hint = 'name either the partitioned table or its partitions in tables'
    throw refuse('partition-of-mirrored', `is a partition of ${root}, which is mirrored and has its rows`, hint)
  }
  if (!relation.readable) {
    throw refuse('missing-select', `may not be read by ${relation.role}`, `GRANT SELECT ON ${sql} TO ${quoteName(relation.role)}`)
  }
  if (relation.filtered) {
    const hint = `ALTER ROLE ${quoteName(relation.role)} BYPASSRLS`
    throw refuse('row-security', `has row-level security, which would hide rows from ${relation.role}`, hint)
  }
  const member = borrowed?.members.get(relation.oid)
  if (!borrowed && !relation.owned && !relation.published) {
    const hint = `let its owner run: ALTER PUBLICATION ${quoteName(publication)} ADD TABLE ${sql}; or: GRANT the owner's role to ${quoteName(relation.role)}`
    throw refuse('not-owner', `can be published only by its owner, and ${relation.role} is not`, hint)
  }
  const columns = facts.columns
    // Generated columns are not sent, and can be computed again from the others. From 18 on a publication may have them sent.
    .filter(({ name, generated }) => {
      const listed = member?.columns?.includes(name) ?? true
      return listed && (generated === '' || (member?.columns != null && rules.version >= 180_000))
    })
    .map((column): PlannedColumn => {
      const setting = rules.settingOf(sourceName, column.name)
      const codec = rules.codecOf(column.type, column.modifier, setting)
      if (!codec) {
        // Only a type that was made or dropped between two of our questions.
        throw refuse('unsupported-type', `has column ${quoteName(column.name)} of unknown type ${column.shown}`, 'start again')
      }
      return { id: column.id, name: column.name, typeOid: column.type, modifier: column.modifier, codec, setting }
    })
  // Each UPDATE would fail at the source ("Replica identity must not contain unpublished generated columns").
  const full = relation.kind === 'p' ? facts.partitions.some(({ identity }) => identity === 'f') : relation.identity === 'f'
  if (!borrowed && full && rules.version >= 180_000 && columns.length < facts.columns.length) {
    throw refuse(
      'generated-in-identity',
      'has REPLICA IDENTITY FULL and a generated column, so from Postgres 18 on its UPDATEs and DELETEs would fail once it is published',
      `with a primary key: ALTER TABLE ${sql} REPLICA IDENTITY DEFAULT; or drop the generated column`,
    )
  }
  const key = keyOf(relation, columns, facts, borrowed, (why) =>
    refuse(
      'no-identity',
      `${why}, so its UPDATEs and DELETEs would fail once it is published`,
      identityHint(sql, facts.candidates),
    ),
  )
  const required = key.kind === 'columns' ? new Set(key.columns) : new Set<number>()
  const fields = columns.map((column, i): Field => ({
    id: 0,
    name: column.name,
    type: column.codec.type,
    required: required.has(i),
  }))
  const { storage, highest, ended } = relation
  const index = key.kind === 'columns' ? facts.indexes[0] : null
  const primary = index?.primary ? index.index : undefined
  const sent = member?.listed == null ? undefined : member.listed ? 'listed' : 'all'
  const memo: ShapeMemo = { storage, highest, ignored: [], primary, look: { storage, xid: ended }, sent }
  return {
    oid: relation.oid,
    schema: relation.schema,
    table: relation.name,
    partitioned: relation.kind === 'p',
    filter: member?.filter ?? null,
    loose: borrowed && member ? isLoose(borrowed, member) : false,
    columns,
    shown: facts.columns.map(({ name, shown }) => ({ name, type: shown })),
    index: index?.index ?? null,
    memo,
    source: {
      id: String(relation.oid),
      sourceName,
      ...target,
      fields,
      key,
      columnIds: columns.map(({ id }) => id),
      memo: writeShapeMemo(memo, columns),
    },
  }
}

/** By which columns changes name their row: what the replica identity sends. */
function keyOf(
  relation: RelationRow,
  columns: readonly PlannedColumn[],
  facts: TableFacts,
  borrowed: BorrowedPublication | null,
  refuse: (why: string) => FrazilError,
): TableKey {
  for (const partition of facts.partitions) {
    const usable = partition.identity === 'f' || (partition.identity === 'd' && partition.primary)
    if (!usable || partition.kind !== 'r') {
      throw refuse(`has the partition ${showName(partition.schema, partition.name)} without a replica identity`)
    }
  }
  if (borrowed && !borrowed.updates && !borrowed.deletes) return { kind: 'none' }
  const [index] = facts.indexes
  if (index) {
    const places = index.columns.map((name) => columns.findIndex((column) => column.name === name))
    // In the order in which the stream tells of them, whatever the index has: a copy and the stream hash the same key.
    if (places.every((place) => place >= 0) && places.length > 0)
      return { kind: 'columns', columns: places.toSorted((a, b) => a - b) }
    if (relation.identity !== 'f') {
      const left = borrowed ? 'is published without a column of its key' : 'has a generated column in its key'
      throw refuse(left)
    }
  }
  if (relation.identity === 'f' && facts.partitions.every((partition) => partition.identity === 'f')) return { kind: 'row' }
  if (relation.identity === 'n') throw refuse('has REPLICA IDENTITY NOTHING')
  const deferrable = relation.identity === 'd' && facts.candidates.some(({ primary, immediate }) => primary && !immediate)
  throw refuse(deferrable ? 'has a deferrable primary key, which is no replica identity' : 'has no usable key')
}

/** The statement that gives a table an identity, the cheapest first. */
function identityHint(sql: string, candidates: readonly CandidateRow[]): string {
  const full = `or: ALTER TABLE ${sql} REPLICA IDENTITY FULL`
  const usable = candidates.find(({ immediate }) => immediate)
  if (usable?.primary) return `ALTER TABLE ${sql} REPLICA IDENTITY DEFAULT; ${full}`
  if (usable) return `ALTER TABLE ${sql} REPLICA IDENTITY USING INDEX ${quoteName(usable.index)}; ${full}`
  const [deferrable] = candidates.filter(({ primary }) => primary)
  if (deferrable) return `ALTER TABLE ${sql} DROP CONSTRAINT ${quoteName(deferrable.index)}, ADD PRIMARY KEY (…); ${full}`
  return `ALTER TABLE ${sql} ADD PRIMARY KEY (…); ${full}`
}
