export type { Source, SourceParts, SourceState } from './source.ts'
