import { ByteReader, ByteWriter, compileDecoder, compileEncoder } from '../format/avro/index.ts'
import type { AvroRecord, AvroType, AvroValue } from '../format/avro/index.ts'
import { badManifest } from './avro-fields.ts'
import type { FieldMetrics } from './contract.ts'
import { entryNames, metricMaps, metricTypes } from './manifest-schema.ts'
import { absent } from './manifest.ts'
import type { ManifestFileRecord } from './manifest.ts'

/** Between a file's metrics by column and the maps of a manifest entry. */

type MapName = keyof typeof metricMaps
type EncodedMaps = Pick<ManifestFileRecord, MapName>

const property = {
  columnSizes: 'columnSize',
  valueCounts: 'valueCount',
  nullValueCounts: 'nullCount',
  nanValueCounts: 'nanCount',
  lowerBounds: 'lower',
  upperBounds: 'upper',
} as const satisfies Record<MapName, keyof FieldMetrics>

const mapNames = Object.keys(property) as MapName[]

const typeOf = (name: MapName): AvroType => metricTypes.get(metricMaps[name].id) ?? { kind: 'null' }
const codecs = mapNames.map((name) => ({
  name,
  encode: compileEncoder(typeOf(name), entryNames),
  decode: compileDecoder(typeOf(name), entryNames),
}))

export const noMetrics: EncodedMaps = {
  columnSizes: absent,
  valueCounts: absent,
  nullValueCounts: absent,
  nanValueCounts: absent,
  lowerBounds: absent,
  upperBounds: absent,
}

export function encodeMetrics(metrics: readonly FieldMetrics[]): EncodedMaps {
  const encoded: Record<MapName, Uint8Array> = { ...noMetrics }
  const out = new ByteWriter(256)
  for (const { name, encode } of codecs) {
    const pairs: AvroRecord[] = []
    for (const metric of metrics) {
      const value = metric[property[name]]
      if (value !== undefined) pairs.push({ key: metric.fieldId, value })
    }
    if (pairs.length === 0) continue
    encode(out, pairs)
    encoded[name] = out.take()
  }
  return encoded
}

export function decodeMetrics(maps: EncodedMaps): FieldMetrics[] {
  const byField = new Map<number, Record<string, AvroValue>>()
  for (const { name, decode } of codecs) {
    const pairs = decode(new ByteReader(maps[name]))
    if (pairs === null) continue
    if (!Array.isArray(pairs)) throw badManifest(`${name} is no map`)
    for (const pair of pairs as AvroRecord[]) {
      const fieldId = Number(pair.key)
      let metric = byField.get(fieldId)
      if (metric === undefined) byField.set(fieldId, (metric = { fieldId, columnSize: 0 }))
      metric[property[name]] = pair.value
    }
  }
  // Types by construction: every map's value type is the property's.
  return [...byField.values()] as unknown as FieldMetrics[]
}
