import { isUtf8 } from 'node:buffer'
import type { PrimitiveType } from '../../data/index.ts'
import { layoutOf, widthOf } from '../../data/index.ts'
import type { Dense } from './decode-values.ts'
import { aligned, widthOfPhysical, withLengths } from './decode-values.ts'
import { notConvertible } from './file-schema.ts'
import type { FileLeaf } from './file-schema.ts'
import { malformed } from './read-metadata.ts'
import { physical } from './schema.ts'

/** Turns values as a file has them into values as segments store them. */
export type Convert = (values: Dense) => Dense

const same: Convert = (values) => values
const noEnds = new Int32Array(1)

/**
 * The conversion from a column of a file to a type: none, a promotion that Iceberg allows (specification: Iceberg "Schema
 * Evolution"), or a change of unit or form without loss. Throws `unsupported` when there is none.
 */
export function conversion(leaf: FileLeaf, target: PrimitiveType): Convert {
  const { physical: from, annotation, typeLength } = leaf.element
  const refuse = (): never => {
    throw notConvertible(leaf.path.join('.'), target)
  }
  switch (target.kind) {
    case 'boolean':
      return from === physical.boolean ? same : refuse()
    case 'int':
      if (annotation?.kind === 'integer' && !annotation.signed && annotation.bits === 32) return refuse()
      return from === physical.int32 ? same : refuse()
    case 'date':
      return from === physical.int32 ? same : refuse()
    case 'long':
      if (annotation?.kind === 'integer' && !annotation.signed && annotation.bits === 64) return refuse()
      if (from === physical.int32) return widen(annotation?.kind === 'integer' && !annotation.signed ? 'unsigned' : 'signed')
      return from === physical.int64 ? same : refuse()
    case 'float':
      return from === physical.float ? same : refuse()
    case 'double':
      return from === physical.double ? same : from === physical.float ? floatToDouble : refuse()
    case 'time':
    case 'timestamp':
    case 'timestamptz': {
      if (from === physical.int32 && annotation?.kind === 'date' && target.kind === 'timestamp') return scaled(86_400_000_000n)
      const unit = annotation?.kind === 'time' || annotation?.kind === 'timestamp' ? annotation.unit : 'us'
      // Nanoseconds would lose their last digits.
      if (unit === 'ns') return refuse()
      if (from === physical.int32) return unit === 'ms' ? scaled(1000n) : refuse()
      if (from !== physical.int64) return refuse()
      return unit === 'ms' ? scaled(1000n) : same
    }
    case 'decimal': {
      const scale = annotation?.kind === 'decimal' ? annotation.scale : 0
      const unsigned = annotation?.kind === 'integer' && !annotation.signed
      const precision = annotation?.kind === 'decimal' ? annotation.precision : from === physical.int32 ? 10 : unsigned ? 20 : 19
      if (scale !== target.scale || precision > target.precision) return refuse()
      return toDecimal(leaf, target, unsigned)
    }
    case 'string':
      return from === physical.byteArray ? same : refuse()
    case 'binary':
      return from === physical.byteArray ? same : from === physical.fixed ? withLengths : refuse()
    case 'uuid':
      return from === physical.fixed && typeLength === 16 ? same : refuse()
    case 'fixed':
      return from === physical.fixed && typeLength === target.length ? same : refuse()
  }
}

function dense(count: number, width: number, buffer: ArrayBuffer): Dense {
  return { count, width, bytes: new Uint8Array(buffer), ends: noEnds }
}

function widen(sign: 'signed' | 'unsigned'): Convert {
  return ({ count, bytes }) => {
    const source = aligned(bytes)
    const out = new Int32Array(count * 2)
    for (let i = 0; i < count; i++) {
      out[i * 2] = source[i]
      out[i * 2 + 1] = sign === 'signed' ? source[i] >> 31 : 0
    }
    return dense(count, 8, out.buffer)
  }
}

function floatToDouble({ count, bytes }: Dense): Dense {
  const source = aligned(bytes)
  const floats = new Float32Array(source.buffer, source.byteOffset, count)
  return dense(count, 8, Float64Array.from(floats).buffer)
}

/** Integers of 32 or 64 bits times `factor`, in 64 bits. */
function scaled(factor: bigint): Convert {
  return ({ count, width, bytes }) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const out = new BigInt64Array(count)
    for (let i = 0; i < count; i++) {
      const value = factor * (width === 4 ? BigInt(view.getInt32(i * 4, true)) : view.getBigInt64(i * 8, true))
      if (BigInt.asIntN(64, value) !== value) throw malformed('a time is out of range')
      out[i] = value
    }
    return dense(count, 8, out.buffer)
  }
}

/** Every physical form of a decimal to 4, 8 or 16 bytes little-endian. */
function toDecimal(leaf: FileLeaf, target: PrimitiveType & { kind: 'decimal' }, unsigned: boolean): Convert {
  const { physical: from, typeLength } = leaf.element
  const width = widthOf(target)
  const layout = layoutOf(target)
  if (from === physical.int32 && layout === 'i32' && !unsigned) return same
  if (from === physical.int64 && layout === 'i64' && !unsigned) return same
  if (
    from === null ||
    from === physical.boolean ||
    from === physical.float ||
    from === physical.double ||
    from === physical.int96
  )
    throw notConvertible(leaf.path.join('.'), target)
  const bigEndian = from === physical.fixed || from === physical.byteArray
  const fixedWidth = widthOfPhysical(from, typeLength)
  return ({ count, bytes, ends }) => {
    const out = new Uint8Array(count * width)
    for (let i = 0; i < count; i++) {
      const start = fixedWidth === 0 ? ends[i] + 4 : i * fixedWidth
      const length = fixedWidth === 0 ? ends[i + 1] - ends[i] - 4 : fixedWidth
      const byteAt = (k: number): number => bytes[bigEndian ? start + length - 1 - k : start + k]
      const fill = !unsigned && length > 0 && byteAt(length - 1) & 128 ? 255 : 0
      for (let k = 0; k < width; k++) out[i * width + k] = k < length ? byteAt(k) : fill
      // Digits beyond the width must be nothing but the sign.
      const sign = out[i * width + width - 1] & 128 ? 255 : 0
      for (let k = width; k < length; k++) if (byteAt(k) !== sign) throw malformed('a decimal has more digits than its type')
      if (length > 0 && length >= width && sign !== fill) throw malformed('a decimal has more digits than its type')
    }
    return dense(count, width, out.buffer)
  }
}

/** The same, for columns of text: throws `corrupt` for one that is not UTF-8. */
export function checkedText(leaf: FileLeaf, convert: Convert): Convert {
  return (values) => {
    const { count, bytes, ends } = values
    for (let i = 0; i < count; i++) {
      // Four bytes of length lie before each.
      if (!isUtf8(bytes.subarray(ends[i] + 4, ends[i + 1])))
        throw malformed(`a text in column ${leaf.path.join('.')} is not UTF-8`)
    }
    return convert(values)
  }
}
