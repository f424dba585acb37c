import { FrazilError } from '../../base/index.ts'
import type { Field, Type } from '../../data/index.ts'
import type { JsonObject } from '../../format/json/index.ts'
import { int, objects, text } from '../json-fields.ts'
import { partitionSpec } from '../metadata.ts'
import type { TableMetadata } from '../metadata.ts'
import { checkPropertyColumns, columnSettings } from './column-settings.ts'
import type { ColumnSettings } from './column-settings.ts'
import { checkExpression } from './expression.ts'
import type { PartitionExpression, SortExpression } from './expression.ts'
import { parseTransform, transformText } from './transform.ts'
import type { Transform } from './transform.ts'

/** Partition specs and sort orders in table metadata, and how they change (specification: "Partitioning", "Sorting"). */

/** What a person asks of a table's layout; absent parts stay as they are in the lake. */
export interface LayoutRequest {
  readonly partitionBy?: readonly PartitionExpression[]
  readonly sortBy?: readonly SortExpression[]
  /** Table properties that {@link checkProperty} has taken. */
  readonly properties?: Readonly<Record<string, string>>
}

/** How new data files of a table are laid out. Plain data: it travels to file workers. */
export interface FileLayout {
  readonly specId: number
  /** `column`: position of the source among the file's columns. */
  readonly partition: readonly { readonly column: number; readonly transform: Transform }[]
  /** 0: unsorted. */
  readonly sortOrderId: number
  readonly sort: readonly SortKey[]
  /** Null: as usual. */
  readonly columns: ColumnSettings | null
}

export interface SortKey {
  /** Position of the source among the file's columns. */
  readonly column: number
  readonly transform: Transform
  readonly descending: boolean
  readonly nullsFirst: boolean
}

interface PartitionField {
  readonly sourceId: number
  readonly name: string
  /** As in metadata; one that we do not know included. */
  readonly transform: string
}

interface SortField {
  readonly sourceId: number
  readonly transform: string
  readonly direction: string
  readonly nullOrder: string
}

/** The metadata with the layout that is asked for. Throws `config` (code `layout-invalid`) when it does not fit the columns. */
export function withRequestedLayout(
  metadata: TableMetadata,
  request: LayoutRequest,
  fields: readonly Field[],
  table: string,
): TableMetadata {
  let next = metadata
  if (request.partitionBy !== undefined) next = withSpec(next, resolvePartition(next, request.partitionBy, fields, table))
  if (request.sortBy !== undefined) {
    const sort = request.sortBy.map((expression): SortField => {
      const { transform, descending, nullsFirst } = expression
      return {
        sourceId: checkExpression(expression, fields, table).id,
        transform: transformText(transform),
        direction: descending ? 'desc' : 'asc',
        nullOrder: nullsFirst ? 'nulls-first' : 'nulls-last',
      }
    })
    next = withSortOrder(next, sort)
  }
  const { properties = {} } = request
  checkPropertyColumns(Object.keys(properties), fields, table)
  const isNew = Object.entries(properties).some(([key, value]) => metadata.properties[key] !== value)
  return isNew ? { ...next, properties: { ...next.properties, ...properties } } : next
}

function resolvePartition(
  metadata: TableMetadata,
  expressions: readonly PartitionExpression[],
  fields: readonly Field[],
  table: string,
): PartitionField[] {
  const resolved: PartitionField[] = []
  for (const expression of expressions) {
    const source = checkExpression(expression, fields, table)
    const transform = transformText(expression.transform)
    const twin = resolved.findIndex((other) => other.sourceId === source.id && sameUnit(other.transform, transform))
    if (twin >= 0) {
      const message = `table ${table}: "${expressions[twin].text}" and "${expression.text}" partition by the same thing twice`
      throw new FrazilError('config', 'layout-invalid', message, { hint: 'Keep the finer one.', table })
    }
    const taken = new Set([
      ...resolved.map(({ name }) => name),
      // Identity has the column's name by custom; no other field may have one.
      ...fields.filter(({ id }) => expression.transform.kind !== 'identity' || id !== source.id).map(({ name }) => name),
      ...metadata.partitionSpecs
        .flatMap((spec) => objects(spec, 'fields'))
        .filter((field) => field['source-id'] !== source.id || field.transform !== transform)
        .map((field) => text(field, 'name')),
    ])
    const plain = nameOf(source.name, expression.transform)
    let name = plain
    for (let i = 2; taken.has(name); i++) name = `${plain}_${i}`
    resolved.push({ sourceId: source.id, name, transform })
  }
  return resolved
}

const dateParts = ['year', 'month', 'day', 'hour']

/** Readers of the reference implementation refuse two date parts of one column. */
function sameUnit(a: string, b: string): boolean {
  return a === b || (dateParts.includes(a) && dateParts.includes(b))
}

function nameOf(column: string, transform: Transform): string {
  switch (transform.kind) {
    case 'identity':
      return column
    case 'bucket':
      return `${column}_bucket_${transform.buckets}`
    case 'truncate':
      return `${column}_trunc_${transform.width}`
    case 'void':
      return `${column}_null`
    default:
      return `${column}_${transform.kind}`
  }
}

/** With this default spec: one that the table has had, or a new one. Fields keep their ids through all specs. */
function withSpec(metadata: TableMetadata, wanted: readonly PartitionField[]): TableMetadata {
  const specs = metadata.partitionSpecs
  const known = specs.find((spec) => {
    const fields = partitionFields(spec)
    return fields.length === wanted.length && fields.every((field, i) => isSame(field, wanted[i]))
  })
  if (known !== undefined) {
    const defaultSpecId = int(known, 'spec-id')
    return defaultSpecId === metadata.defaultSpecId ? metadata : { ...metadata, defaultSpecId }
  }
  let lastPartitionId = metadata.lastPartitionId
  const all = specs.flatMap((spec) => objects(spec, 'fields'))
  const fields = wanted.map(({ sourceId, name, transform }) => {
    const before = all.find((field) => field['source-id'] === sourceId && field.transform === transform && field.name === name)
    return {
      'source-id': sourceId,
      'field-id': before === undefined ? ++lastPartitionId : int(before, 'field-id'),
      name,
      transform,
    }
  })
  const specId = Math.max(...specs.map((spec) => int(spec, 'spec-id'))) + 1
  return {
    ...metadata,
    defaultSpecId: specId,
    partitionSpecs: [...specs, { 'spec-id': specId, fields }],
    lastPartitionId,
  }
}

function withSortOrder(metadata: TableMetadata, wanted: readonly SortField[]): TableMetadata {
  const orders = metadata.sortOrders
  const known = orders.find((order) => {
    const fields = sortFields(order)
    return fields.length === wanted.length && fields.every((field, i) => isSame(field, wanted[i]))
  })
  if (known !== undefined) {
    const defaultSortOrderId = int(known, 'order-id')
    return defaultSortOrderId === metadata.defaultSortOrderId ? metadata : { ...metadata, defaultSortOrderId }
  }
  const orderId = Math.max(...orders.map((order) => int(order, 'order-id'))) + 1
  const fields = wanted.map(({ sourceId, transform, direction, nullOrder }) => ({
    transform,
    'source-id': sourceId,
    direction,
    'null-order': nullOrder,
  }))
  return { ...metadata, defaultSortOrderId: orderId, sortOrders: [...orders, { 'order-id': orderId, fields }] }
}

function isSame<T extends object>(a: T, b: T): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function partitionFields(spec: JsonObject): PartitionField[] {
  return objects(spec, 'fields').map((field) => ({
    sourceId: int(field, 'source-id'),
    name: text(field, 'name'),
    transform: text(field, 'transform'),
  }))
}

function sortFields(order: JsonObject): SortField[] {
  return objects(order, 'fields').map((field) => ({
    sourceId: int(field, 'source-id'),
    transform: text(field, 'transform'),
    direction: text(field, 'direction'),
    nullOrder: text(field, 'null-order'),
  }))
}

function defaultSortOrder(metadata: TableMetadata): JsonObject {
  return metadata.sortOrders.find((order) => order['order-id'] === metadata.defaultSortOrderId) ?? { fields: [] }
}

/**
 * With the fields of spec and order whose columns are among `ids` (specification: neither may name a column that is gone). Older specs
 * stay: files are under them.
 */
export function withLiveSources(metadata: TableMetadata, ids: ReadonlySet<number>): TableMetadata {
  const partition = partitionFields(partitionSpec(metadata, metadata.defaultSpecId))
  const sort = sortFields(defaultSortOrder(metadata))
  const isLive = ({ sourceId }: { sourceId: number }): boolean => ids.has(sourceId)
  let next = metadata
  if (!partition.every(isLive)) next = withSpec(next, partition.filter(isLive))
  // Sorted by what came before the column that is gone.
  const gone = sort.findIndex((field) => !isLive(field))
  return gone < 0 ? next : withSortOrder(next, sort.slice(0, gone))
}

/**
 * How data files with these columns are laid out, which may be newer than the table's. The same as after a commit of those columns.
 * Throws `unsupported` (code `unknown-layout`) for a spec that another program made and that we cannot follow.
 */
export function fileLayout(metadata: TableMetadata, fields: readonly Field[]): FileLayout {
  const next = withLiveSources(metadata, new Set(fields.flatMap(idsOf)))
  const partition = partitionFields(partitionSpec(next, next.defaultSpecId)).map((field) => ({
    column: positionOf(field, fields),
    transform: known(field.transform),
  }))
  const sort = sortFields(defaultSortOrder(next)).map((field) => ({
    column: positionOf(field, fields),
    transform: known(field.transform),
    descending: field.direction === 'desc',
    nullsFirst: field.nullOrder === 'nulls-first',
  }))
  const columns = columnSettings(
    metadata.properties,
    fields,
    sort.map(({ column }) => column),
  )
  return { specId: next.defaultSpecId, partition, sortOrderId: next.defaultSortOrderId, sort, columns }
}

function known(transform: string): Transform {
  const parsed = parseTransform(transform)
  if (parsed === null) throw unknownLayout(`it has the transform ${transform.slice(0, 40)}`)
  return parsed
}

function positionOf({ sourceId }: { sourceId: number }, fields: readonly Field[]): number {
  const position = fields.findIndex(({ id }) => id === sourceId)
  if (position < 0) throw unknownLayout('it names a field inside of a column')
  return position
}

function unknownLayout(why: string): FrazilError {
  return new FrazilError(
    'unsupported',
    'unknown-layout',
    `the partition spec or sort order of the table cannot be followed: ${why}`,
    {
      hint: 'Say with partition-by and sort-by how the table is to be laid out.',
    },
  )
}

/** A field's id and those of what is nested in it. */
export function idsOf(field: Field): number[] {
  return [field.id, ...nestedIds(field.type)]
}

function nestedIds(type: Type): number[] {
  switch (type.kind) {
    case 'list':
      return [type.elementId, ...nestedIds(type.element)]
    case 'map':
      return [type.keyId, ...nestedIds(type.key), type.valueId, ...nestedIds(type.value)]
    case 'struct':
      return type.fields.flatMap(idsOf)
    default:
      return []
  }
}
