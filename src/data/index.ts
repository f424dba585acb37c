export { assignFieldIds, isNested, sameType, typeText } from './types.ts'
export type { Field, ListType, MapType, NestedType, PrimitiveType, Schema, StructType, Type } from './types.ts'
export {
  Segment,
  isAlive,
  isPresent,
  layoutOf,
  maxSegmentRows,
  maxValueBytes,
  segmentCapacities,
  widthOf,
} from './segment.ts'
export type { Column, Layout, SegmentOptions, SegmentPart, SharedPart, SharedSegment } from './segment.ts'
export { appendRow, columnOf, decodeValue, encodeValue, putBytes, readBytes, readRow, readValue } from './values.ts'
export type { Value } from './values.ts'
export type { Change, Position, SourceEvent, SourceTable, TableKey } from './events.ts'
