import { FrazilError, assert } from '../base/index.ts'
import { encodeJson } from '../format/json/index.ts'
import type { JsonObject } from '../format/json/index.ts'
import type { SchemaUpdate } from './contract.ts'
import { int } from './json-fields.ts'
import { idsOf, withLiveSources } from './layout/index.ts'
import { currentSchema } from './metadata.ts'
import type { TableMetadata } from './metadata.ts'
import { schemaFromJson, schemaToJson } from './schema-json.ts'

/**
 * The metadata with another current schema (specification, "Schema Evolution"): a new one, or the one with the same columns that
 * the table has had before. Ids are never given again, `last-column-id` only grows; but a column that has gone may come again with its id,
 * when a table is replaced whose copy began before. Columns that go leave the partition spec and the sort order.
 */
export function evolveSchema(metadata: TableMetadata, update: SchemaUpdate): TableMetadata {
  if (metadata.currentSchemaId !== update.base) {
    throw new FrazilError('conflict', 'schema-conflict', 'the columns of the table were changed by another program')
  }
  const known = new Set(currentSchema(metadata).fields.flatMap(idsOf))
  const ids = update.fields.flatMap(idsOf)
  assert(new Set(ids).size === ids.length, 'a field id is used once')
  const unknown = ids.filter((id) => !known.has(id) && id <= metadata.lastColumnId)
  if (unknown.length > 0) {
    const former = new Set(metadata.schemas.flatMap((json) => schemaFromJson(json).fields.flatMap(idsOf)))
    assert(
      unknown.every((id) => former.has(id)),
      'a new field has a new id',
    )
  }
  const required = new Set(update.fields.filter((field) => field.required).map(({ id }) => id))
  assert(
    update.identifierFieldIds.every((id) => required.has(id)),
    'key columns are required',
  )
  const lastColumnId = Math.max(metadata.lastColumnId, update.lastColumnId, ...ids)
  const { fields, identifierFieldIds } = update
  const next = withLiveSources({ ...metadata, lastColumnId }, new Set(ids))
  const withId = (schemaId: number): JsonObject => schemaToJson({ schemaId, fields, identifierFieldIds })
  let last = 0
  for (const json of metadata.schemas) {
    const schemaId = int(json, 'schema-id')
    if (encodeJson(json) === encodeJson(withId(schemaId))) return { ...next, currentSchemaId: schemaId }
    last = Math.max(last, schemaId)
  }
  return { ...next, currentSchemaId: last + 1, schemas: [...metadata.schemas, withId(last + 1)] }
}
