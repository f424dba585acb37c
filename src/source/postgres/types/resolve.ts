import { utf8Checked } from './codec.ts'
import type { Codec } from './codec.ts'
import { declaredSrid, geometryCodec } from './geometry.ts'
import { arrayCodec, compositeCodec, hstoreCodec, multirangeCodec, rangeCodec, vectorCodec } from './nested.ts'
import { withRule } from './out-of-range.ts'
import type { OutOfRange, Replaced } from './out-of-range.ts'
import { codecs, decimalCodec, moneyCodec } from './scalars.ts'
import { postgresTypes } from './type-table.ts'

/** What `pg_type` and its companions say of a type. */
export interface TypeRow {
  readonly oid: number
  readonly name: string
  /** `b` base, `e` enum, `d` domain, `c` composite, `r` range, `m` multirange, … */
  readonly kind: string
  readonly category: string
  /** Domains: base type and its modifier. */
  readonly baseOid: number
  readonly baseModifier: number
  /** Arrays: element type. */
  readonly elementOid: number
  /** What parts the elements of an array of this type in text. */
  readonly delimiter: string
  /** Ranges and multiranges: the type of the bounds. */
  readonly boundOid: number
  /** Composites: their attributes. */
  readonly attributes: readonly { readonly name: string; readonly typeOid: number; readonly modifier: number }[]
}

/** What a type's codec depends on beside the type. */
export interface TypeContext {
  /** Rows of all types that are not built in, of built-in arrays and ranges, and of what they are made of. */
  readonly types: ReadonlyMap<number, TypeRow>
  /** For databases whose text is not known to be UTF-8. */
  readonly checkText: boolean
  /** Digits of money after the point. */
  readonly moneyScale: number
  readonly outOfRange: OutOfRange
  readonly replaced: Replaced
}

const byOid = new Map(postgresTypes.flatMap((line) => (line.oid !== null && line.codec ? [[line.oid, line.codec]] : [])))
const byName = new Map(postgresTypes.flatMap((line) => (line.oid === null && line.codec ? [[line.name, line.codec]] : [])))
const numericOid = 1700
const moneyOid = 790
const maxNesting = 32

/** The codec of a type; null when neither the table nor `types` knows the oid. What has no codec of its own is its text. */
export function resolveType(oid: number, modifier: number, context: TypeContext): Codec | null {
  const codec = structured(oid, modifier, context, 0)
  if (codec) return codec
  return context.types.has(oid) ? textCodec(context) : null
}

/** The text that Postgres prints, for a column of any type. */
export function textCodec(context: Pick<TypeContext, 'checkText'>): Codec {
  return context.checkText ? utf8Checked(codecs.printedText) : codecs.printedText
}

function structured(oid: number, modifier: number, context: TypeContext, depth: number): Codec | null {
  const ruled = (codec: Codec): Codec => withRule(codec, context.outOfRange, context.replaced)
  const checked = (codec: Codec): Codec => (context.checkText && codec.type.kind === 'string' ? utf8Checked(codec) : ruled(codec))
  if (oid === numericOid) return ruled(numericCodec(modifier))
  if (oid === moneyOid) return moneyCodec(context.moneyScale)
  const known = byOid.get(oid)
  if (known) return checked(known)
  const row = context.types.get(oid)
  if (!row || depth > maxNesting) return null
  const inner = (of: number, its: number): Codec | null => structured(of, its, context, depth + 1)
  switch (row.kind) {
    case 'e':
      return checked(codecs.text)
    case 'd':
      return inner(row.baseOid, row.baseModifier)
    case 'c': {
      const attributes = row.attributes.flatMap(({ name, typeOid, modifier: its }) => {
        const codec = inner(typeOid, its)
        return codec ? [{ name, typeOid, codec }] : []
      })
      return attributes.length > 0 && attributes.length === row.attributes.length ? compositeCodec(attributes) : null
    }
    case 'r':
    case 'm': {
      const bound = inner(row.boundOid, -1)
      return bound && (row.kind === 'r' ? rangeCodec(bound) : multirangeCodec(bound))
    }
    case 'b': {
      if (row.category !== 'A' || row.elementOid === 0) return extensionType(row.name, modifier, checked)
      const element = inner(row.elementOid, modifier)
      return element && arrayCodec(element, row.elementOid, context.types.get(row.elementOid)?.delimiter)
    }
    default:
      return null
  }
}

/** Types that are known by name, because an extension gets other oids in each database. */
function extensionType(name: string, modifier: number, checked: (codec: Codec) => Codec): Codec | null {
  switch (name) {
    case 'hstore':
      return hstoreCodec(checked(codecs.text))
    case 'vector':
      return vectorCodec(4)
    case 'halfvec':
      return vectorCodec(2)
    case 'geometry':
      return geometryCodec(declaredSrid(modifier))
    case 'geography':
      return geometryCodec(declaredSrid(modifier) || 4326)
    default: {
      const named = byName.get(name)
      return named ? checked(named) : null
    }
  }
}

function numericCodec(modifier: number): Codec {
  if (modifier < 4) return codecs.numericText
  const packed = modifier - 4
  const precision = (packed >> 16) & 0xffff
  const scale = ((packed & 0x7ff) ^ 1024) - 1024
  if (scale < 0 && precision - scale <= 38) return decimalCodec(precision - scale, 0)
  if (scale > precision && scale <= 38) return decimalCodec(scale, scale)
  return scale >= 0 && precision <= 38 && scale <= precision ? decimalCodec(precision, scale) : codecs.numericText
}
