import { FrazilError, nearest } from '../../base/index.ts'
import type { Field, Type } from '../../data/index.ts'
import type { BloomFilterOptions, MetricsMode } from '../../format/parquet/index.ts'

/** What is said of columns in manifests and put beside them in files, by field id. Plain data: it travels to file workers. */
export interface ColumnSettings {
  readonly metrics: Readonly<Record<number, MetricsMode>>
  readonly bloomFilters: Readonly<Record<number, BloomFilterOptions>>
}

const metricsDefault = 'write.metadata.metrics.default'
const metricsMost = 'write.metadata.metrics.max-inferred-column-defaults'
const metricsColumn = 'write.metadata.metrics.column.'
const bloomEnabled = 'write.parquet.bloom-filter-enabled.column.'
const bloomFalsePositives = 'write.parquet.bloom-filter-fpp.column.'
const bloomMaxBytes = 'write.parquet.bloom-filter-max-bytes'
const whole = [metricsDefault, metricsMost, bloomMaxBytes]
const perColumn = [metricsColumn, bloomEnabled, bloomFalsePositives]
const defaultMode = 'truncate(16)'

/** Iceberg's own defaults. */
const inferredColumns = 100
const falsePositives = 0.01
const maxBytes = 1 << 20
/** What Java's writers allow at most. */
const largestFilter = 128 << 20

/** Checks a table property that a configuration sets. Throws `config` (code `layout-invalid`). */
export function checkProperty(key: string, value: string): void {
  const prefix = perColumn.find((each) => key.startsWith(each) && key.length > each.length)
  const known = [...whole, ...perColumn.map((each) => `${each}<name>`)]
  if (prefix === undefined && !whole.includes(key)) {
    const near = nearest(key, known)
    throw invalid(
      `"${key}" is no property that can be set`,
      near === null ? `Known are ${known.join(', ')}.` : `Did you mean ${near}?`,
    )
  }
  const number = Number(value)
  const isRight =
    prefix === metricsColumn || key === metricsDefault
      ? modeOf(value) !== null
      : prefix === bloomEnabled
        ? value === 'true' || value === 'false'
        : prefix === bloomFalsePositives
          ? number > 0 && number < 1
          : Number.isSafeInteger(number) && number > 0
  const forms = 'Metrics are none, counts, truncate(16) or full; filters true or false, with a rate between 0 and 1.'
  if (!isRight) throw invalid(`"${key}" cannot be "${value}"`, forms)
}

/** Checks that a table has the columns that properties name. Throws `config` (code `layout-invalid`). */
export function checkPropertyColumns(keys: readonly string[], fields: readonly Field[], table: string): void {
  const names = fields.flatMap((field) => leavesOf(field)).map(({ name }) => name)
  for (const key of keys) {
    const prefix = perColumn.find((each) => key.startsWith(each))
    const name = key.slice(prefix?.length)
    if (prefix === undefined || names.includes(name)) continue
    const near = nearest(name, names)
    const hint = near === null ? `Its columns are ${names.join(', ').slice(0, 500)}.` : `Did you mean "${near}"?`
    throw invalid(`table ${table} has no column "${name}", which "${key}" names`, hint, table)
  }
}

/**
 * What a table's properties say of its columns (specification: Iceberg's table properties); null when they say nothing, and the usual
 * holds. Columns that it is sorted by have bounds in any case.
 */
export function columnSettings(
  properties: Readonly<Record<string, string>>,
  fields: readonly Field[],
  sorted: readonly number[],
): ColumnSettings | null {
  const prefixes = [...whole, ...perColumn]
  if (!Object.keys(properties).some((key) => prefixes.some((prefix) => key.startsWith(prefix)))) return null
  const metrics: Record<number, MetricsMode> = {}
  const bloomFilters: Record<number, BloomFilterOptions> = {}
  const usual = modeOf(properties[metricsDefault] ?? defaultMode) ?? { truncate: 16 }
  const most = Number(properties[metricsMost] ?? inferredColumns)
  const sortedIds = new Set(sorted.map((position) => fields[position].id))
  for (const [i, { id, name }] of fields.flatMap((field) => leavesOf(field)).entries()) {
    const own = properties[metricsColumn + name]
    const mode = (own === undefined ? null : modeOf(own)) ?? (i < most ? usual : 'none')
    metrics[id] = sortedIds.has(id) && (mode === 'none' || mode === 'counts') ? { truncate: 16 } : mode
    if (properties[bloomEnabled + name] !== 'true') continue
    // Others may have set what is none: a file cannot be written by it.
    const rate = Number(properties[bloomFalsePositives + name])
    const bytes = Number(properties[bloomMaxBytes])
    bloomFilters[id] = {
      falsePositives: rate > 0 && rate < 1 ? rate : falsePositives,
      maxBytes: Number.isSafeInteger(bytes) && bytes > 0 ? Math.min(bytes, largestFilter) : maxBytes,
    }
  }
  return { metrics, bloomFilters }
}

function modeOf(text: string): MetricsMode | null {
  if (text === 'none' || text === 'counts' || text === 'full') return text
  const length = Number(/^truncate\((\d{1,9})\)$/.exec(text)?.[1] ?? 0)
  return length > 0 ? { truncate: length } : null
}

/** The columns of values within a field, named as Iceberg names them. */
function leavesOf({ id, name, type }: { id: number; name: string; type: Type }): { id: number; name: string }[] {
  switch (type.kind) {
    case 'list':
      return leavesOf({ id: type.elementId, name: `${name}.element`, type: type.element })
    case 'map':
      return [
        ...leavesOf({ id: type.keyId, name: `${name}.key`, type: type.key }),
        ...leavesOf({ id: type.valueId, name: `${name}.value`, type: type.value }),
      ]
    case 'struct':
      return type.fields.flatMap((field) => leavesOf({ id: field.id, name: `${name}.${field.name}`, type: field.type }))
    default:
      return [{ id, name }]
  }
}

function invalid(message: string, hint: string, table?: string): FrazilError {
  return new FrazilError('config', 'layout-invalid', message, table === undefined ? { hint } : { hint, table })
}
