export { ParquetEncoder } from './encoder.ts'
export type { ColumnMetrics, ParquetEncoderOptions, ParquetSummary } from './encoder.ts'
export type { MetricsMode } from './bounds.ts'
export type { WriteCodec } from './codec.ts'
