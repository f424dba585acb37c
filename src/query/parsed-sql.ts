/** A parsed statement as `json_serialize_sql` prints it; numbers that would lose digits are their text. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export function parsedSql(text: string): Json {
  return JSON.parse(text, (_key, value: Json, context?: { source?: string }) =>
    typeof value === 'number' && context?.source !== undefined && String(value) !== context.source ? context.source : value,
  ) as Json
}
