import type { Type } from '../../data/index.ts'
import { isNested, typeText } from '../../data/index.ts'
import type { CellReader } from './cells.ts'
import { NestedReader } from './nested.ts'
import { DecimalReader, FloatReader, IntReader, LongReader } from './number-readers.ts'
import { BinaryReader, BooleanReader, StringReader, UuidReader } from './text-readers.ts'
import { DateReader, TimeReader, TimestampReader } from './time-readers.ts'

/** A reader for values of a type. Nested ones go through objects; all others are read as they stand. */
export function readerOf(type: Type): CellReader {
  if (isNested(type)) return new NestedReader(type, readerOf)
  switch (type.kind) {
    case 'boolean':
      return new BooleanReader()
    case 'int':
      return new IntReader()
    case 'long':
      return new LongReader()
    case 'float':
    case 'double':
      return new FloatReader(type.kind)
    case 'decimal':
      return new DecimalReader(type.precision, type.scale)
    case 'date':
      return new DateReader()
    case 'time':
      return new TimeReader()
    case 'timestamp':
    case 'timestamptz':
      return new TimestampReader(type.kind === 'timestamptz')
    case 'string':
      return new StringReader()
    case 'uuid':
      return new UuidReader()
    case 'binary':
    case 'fixed':
      return new BinaryReader(type.kind === 'fixed' ? type.length : null, typeText(type))
  }
}
