import { z } from 'zod'
import { isLoopback } from '../access/index.ts'
import type { TlsConfig } from '../access/index.ts'
import { otlpTables } from '../source/index.ts'
import type { Promotion } from '../source/index.ts'
import { parsePartition, parseSort } from '../iceberg/index.ts'
import { sourceTls, tlsFiles } from './access-config.ts'
import type { TableSettings } from './table-settings.ts'
import { parseAddress } from './units.ts'
import type { Address } from './units.ts'

/** Where OTLP is taken; `tls` has absolute paths, and is null for plain HTTP. */
type OtlpAddress = Address & { readonly tls: TlsConfig | null }

/** OpenTelemetry: where programs send it. Everything is set: defaults are filled in. */
export interface OtlpSourceConfig {
  readonly type: 'otlp'
  /** Null: not taken this way. */
  readonly http: OtlpAddress | null
  readonly grpc: OtlpAddress | null
  readonly promotions: readonly Promotion[]
}

const attributeTypes = ['string', 'int', 'long', 'double', 'boolean'] as const
const mostPromotions = 200

const address = (description: string) =>
  z
    .string({ error: addressForm() })
    .transform((value, ctx) => {
      const parsed = parseAddress(value)
      if (parsed) return parsed
      ctx.addIssue(addressForm())
      return z.NEVER
    })
    .meta({ description })
    .optional()

function addressForm(): string {
  return 'must be host:port, for example 127.0.0.1:4318'
}

const promoted = (what: string) =>
  z
    .record(z.string().min(1), z.enum(attributeTypes, { error: `must be ${attributeTypes.join(', ')}` }), {
      error: 'must be a map of attributes to types, for example {http.response.status_code: int}',
    })
    .meta({ description: `Of ${what}, by key.` })
    .prefault({})

/** The settings of a source of type `otlp`. */
export const otlpSchema = z
  .strictObject({
    type: z.literal('otlp', { error: 'must be "otlp"' }).meta({ description: 'OpenTelemetry: `otlp`.' }),
    http: address(
      'Where OTLP over HTTP is taken (`POST /v1/logs`, `/v1/traces`, `/v1/metrics`), as `host:port`; usually `127.0.0.1:4318`. What other machines can reach needs `auth`. Default: nowhere.',
    ),
    grpc: address(
      'Where OTLP over gRPC is taken, as `host:port`; usually `127.0.0.1:4317`. What other machines can reach needs `auth`. Default: nowhere.',
    ),
    tls: sourceTls,
    attributes: z
      .strictObject(
        {
          resource: promoted('resources, in all tables'),
          logs: promoted('log records'),
          traces: promoted('spans'),
          metrics: promoted('data points, in all tables of metrics'),
        },
        { error: 'must have settings under it' },
      )
      .prefault({})
      .meta({
        description:
          'Attributes that have a column of their own beside their place among the attributes, with its type (`string`, `int`, `long`, `double`, `boolean`). The column has the name of the attribute, other characters than A-Z a-z 0-9 _ as _.',
      }),
  })
  .superRefine((source, ctx) => {
    if (!source.http && !source.grpc) {
      ctx.addIssue({ code: 'custom', path: [], message: 'needs "http" or "grpc": where OTLP is taken' })
    }
    const promotions = promotionsOf(source.attributes)
    if (promotions.length > mostPromotions) {
      ctx.addIssue({ code: 'custom', path: ['attributes'], message: `has more than ${mostPromotions} attributes` })
    }
    const taken = new Map<string, Promotion>()
    for (const promotion of promotions) {
      const { attribute, column, of } = promotion
      const folded = column.toLowerCase()
      const twin = taken.get(`${of}.${folded}`) ?? taken.get(`resource.${folded}`)
      if (otlpTables.some(({ columns }) => columns.has(folded))) {
        ctx.addIssue({
          code: 'custom',
          path: ['attributes', of, attribute],
          message: `would be the column ${column}, which is there anyway`,
        })
      } else if (twin) {
        ctx.addIssue({
          code: 'custom',
          path: ['attributes', of, attribute],
          message: `would be the same column as ${twin.attribute}`,
        })
      }
      taken.set(`${of}.${folded}`, promotion)
    }
  })
  .meta({
    description:
      'A source of OpenTelemetry logs, traces and metrics: tables `otel_logs`, `otel_traces`, `otel_metrics_…`; see [OTLP](otlp.md).',
  })

type Attributes = Readonly<Record<Promotion['of'], Readonly<Record<string, Promotion['type']>>>>

/** Those of resources first: they must not have the name of another one. */
function promotionsOf(attributes: Attributes): Promotion[] {
  const parts = ['resource', 'logs', 'traces', 'metrics'] as const
  return parts.flatMap((of) =>
    Object.entries(attributes[of]).map(([attribute, type]) => ({
      attribute,
      column: attribute.replaceAll(/[^A-Za-z0-9_]/g, '_'),
      type,
      of,
    })),
  )
}

/**
 * @param folder of the configuration's file
 * @param general `tls` of the whole configuration
 */
export function otlpSource(source: z.output<typeof otlpSchema>, folder: string, general: TlsConfig | null): OtlpSourceConfig {
  const own = tlsFiles(source.tls, folder)
  const address = (given: Address | undefined): OtlpAddress | null =>
    given ? { ...given, tls: own ?? (isLoopback(given.host) ? null : general) } : null
  return {
    type: 'otlp',
    http: address(source.http),
    grpc: address(source.grpc),
    promotions: promotionsOf(source.attributes),
  }
}

/** Settings of the tables of an OTLP source: as they are given, and laid out by day, service and time where nothing else is said. */
export function otlpTableSettings(name: string, given: TableSettings): TableSettings {
  const laidOut = otlpTables.map(({ table, time }) => {
    const full = `${name}.${table}`
    const layout = { partitionBy: [parsePartition(`day(${time})`)], sortBy: ['service_name', time].map(parseSort) }
    return [full, { ...layout, ...(given[full] ?? { onSchemaChange: 'evolve' }) }] as const
  })
  return { ...given, ...Object.fromEntries(laidOut) }
}
