export { csvToJsonLines } from './csv.ts'
