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
  /** Binary form of a type of which only the text is read. */
  asBinary: -17,
  otherShape: -18,
  /** A value of a key that its rule would make null. */
  nullInKey: -19,
  /** Not a failure: by the rule for its column the value becomes null. */
  asNull: -30,
} as const

/** A refused value as the end of a sentence that begins with the column's name. */
export function refusalText(code: number): string {
  switch (code) {
    case refusal.unchanged:
      return 'was not sent because it is large and did not change'
    case refusal.tooLarge:
      return 'has a value of more than 16 MiB, which is more than one row may hold'
    case refusal.infinite:
      return 'has infinity, which Iceberg cannot represent'
    case refusal.notANumber:
      return 'has NaN, which a decimal cannot represent'
    case refusal.inexact:
      return 'has more digits after the point than its type'
    case refusal.outOfRange:
      return 'has a date or time that Iceberg cannot represent'
    case refusal.endOfDay:
      return 'has 24:00:00, which Iceberg cannot represent'
    case refusal.multiDimensional:
      return 'has an array of more than one dimension'
    case refusal.notUtf8:
      return 'has text that is not UTF-8'
    case refusal.asBinary:
      return 'was sent in a form that is not read'
    case refusal.nullInKey:
      return 'is part of the key and has a value that Iceberg cannot represent'
    case refusal.otherShape:
      return 'has a composite value of another shape than its type had when the table was copied'
    default:
      return 'has bytes that its type does not have'
  }
}

/** Statement or advice that lets a refused table in again. */
export function refusalHint(code: number, table: string, column: string): string {
  switch (code) {
    case refusal.unchanged:
      return `ALTER TABLE ${table} REPLICA IDENTITY FULL; then resync the table`
    case refusal.infinite:
    case refusal.notANumber:
    case refusal.outOfRange:
    case refusal.endOfDay:
      return `set out-of-range of the source to "null" or "clamp", or columns: {'${table}.${column}': text}; then resync the table`
    case refusal.nullInKey:
    case refusal.multiDimensional:
      return `set columns: {'${table}.${column}': text} of the source to keep its text, then resync the table`
    case refusal.otherShape:
      return 'resync the table'
    default:
      return 'change the value or the type of the column at the source, then resync the table'
  }
}
