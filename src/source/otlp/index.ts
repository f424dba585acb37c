export { checkOtlpSource } from './check.ts'
export { OtlpSource } from './otlp-source.ts'
export { otlpTables } from './tables.ts'
export type { Promotion } from './tables.ts'
