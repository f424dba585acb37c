/**
 * What a decoder answers when it did not write a value: small negative numbers, so that the hot path has no objects and no
 * exceptions. Everything else it answers is where the bytes it read end.
 */
export const refusal = {
  /** The segment has no room: start another and ask again. */
  full: -1,
  /** The value was left out because it did not change, and no old row says what it is. */
  unchanged: -2,
  /** The bytes are not what this type sends, or they end too early. */
  malformed: -3,
  /** The pool has no room: wait, then ask again. */
  wait: -4,
  tooLarge: -5,
  infinite: -10,
  notANumber: -11,
  inexact: -12,
  outOfRange: -13,
  endOfDay: -14,
  multiDimensional: -15,
  notUtf8: -16,
  asText: -17,
} as const

/** A refused value as the end of a sentence that begins with the column's name. */
export function refusalText(code: number): string {
  switch (code) {
    case refusal.unchanged:
      return 'was not sent because it is large and did not change'
    case refusal.tooLarge:
      return 'has a value that is larger than one row may be'
    case refusal.infinite:
      return 'has infinity, which Iceberg cannot represent'
    case refusal.notANumber:
      return 'has NaN, which a decimal cannot represent'
    case refusal.inexact:
      return 'has more digits after the point than its type'
    case refusal.outOfRange:
      return 'has a time that Iceberg cannot represent'
    case refusal.endOfDay:
      return 'has 24:00:00, which Iceberg cannot represent'
    case refusal.multiDimensional:
      return 'has an array of more than one dimension'
    case refusal.notUtf8:
      return 'has text that is not UTF-8'
    case refusal.asText:
      return 'was sent in a form that its type does not have'
    default:
      return 'has bytes that its type does not have'
  }
}

/** Statement or advice that lets a refused table in again. */
export function refusalHint(code: number, table: string): string {
  if (code === refusal.unchanged) return `ALTER TABLE ${table} REPLICA IDENTITY FULL; then resync the table`
  return 'change the value or the type of the column at the source, then resync the table'
}
