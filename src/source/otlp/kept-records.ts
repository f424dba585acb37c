import { Buffer } from 'node:buffer'
import { WireReader, WireWriter } from '../../format/protobuf/index.ts'
import { tableOfMetric } from './metrics.ts'

/** Fields of an ExportMetricsServiceRequest, of its ResourceMetrics and of their ScopeMetrics in which the next ones are, and then Metrics. */
const path = [1, 2, 2] as const

/** The request with only those of its metrics that are rows of one table; null when there are none. */
export function metricsOf(table: number, body: Uint8Array): Uint8Array | null {
  const reader = new WireReader()
  reader.reset(body)
  const part = (depth: number, end: number): Buffer | null => {
    const kept: Uint8Array[] = []
    let some = false
    while (reader.inside(end)) {
      const from = reader.at
      const tag = reader.tag()
      if (tag !== ((path[depth] << 3) | 2)) {
        reader.skip(tag, end)
        kept.push(body.subarray(from, reader.at))
        continue
      }
      const to = reader.through(end)
      if (depth === path.length - 1) {
        if (tableOfMetric(reader, to) === table) {
          kept.push(body.subarray(from, to))
          some = true
        }
      } else {
        const inner = part(depth + 1, to)
        if (inner) {
          const writer = new WireWriter()
          writer.bytes(path[depth], inner)
          kept.push(writer.written)
          some = true
        }
      }
      reader.at = to
    }
    return some ? Buffer.concat(kept) : null
  }
  return part(0, body.length)
}
