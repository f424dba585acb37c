export { JsonText, encodeJson, isJsonArray, isJsonObject, parseJson } from './json.ts'
export type { JsonObject, JsonValue } from './json.ts'
