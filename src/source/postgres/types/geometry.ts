import { refusal } from '../refusals.ts'
import { copyBytes } from './codec.ts'
import type { Codec, Form } from './codec.ts'
import { storeHex } from './scalars.ts'

const hasSrid = 0x20

/** The SRID that a column is declared with, by its type modifier; 0 for none. */
export function declaredSrid(modifier: number): number {
  if (modifier < 0) return 0
  const packed = modifier & 0x0fffff00
  return (packed - (modifier & 0x10000000)) >> 8
}

/**
 * PostGIS `geometry` and `geography` as WKB. They arrive as EWKB: WKB which may name the coordinate system (SRID) in front. That is
 * taken off where it says what the column's type says; any other stays, so that it is not lost.
 */
export function geometryCodec(srid: number): Codec {
  const binary: Form = {
    bound: (_bytes, from, to) => to - from,
    store: (bytes, from, to, out, at) => {
      const end = copyBytes(bytes, from, to, out, at)
      return withoutSrid(out, at, end, srid)
    },
  }
  const text: Form = {
    bound: (_bytes, from, to) => (to - from) / 2,
    store(bytes, from, to, out, at) {
      const end = storeHex(bytes, from, to, out, at)
      return end < 0 ? end : withoutSrid(out, at, end, srid)
    },
  }
  return { kind: 'stored', type: { kind: 'binary' }, signature: `geometry(${srid})`, binary, text, textOnly: false }
}

/** Byte order (0 big, 1 little), uint32 type with flags in its highest byte, uint32 SRID if flagged, the rest. */
function withoutSrid(out: Uint8Array, from: number, to: number, srid: number): number {
  if (to - from < 5 || out[from] > 1) return refusal.malformed
  const little = out[from] === 1
  const flags = little ? from + 4 : from + 1
  if ((out[flags] & hasSrid) === 0) return to
  if (to - from < 9) return refusal.malformed
  const view = new DataView(out.buffer, out.byteOffset + from + 5, 4)
  if (view.getUint32(0, little) !== srid) return to
  out[flags] &= ~hasSrid
  out.copyWithin(from + 5, from + 9, to)
  return to - 4
}
