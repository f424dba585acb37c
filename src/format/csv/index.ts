export { csvToJsonLines } from './csv.ts'
export type { CsvRows } from './csv.ts'
