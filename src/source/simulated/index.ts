export { SimulatedHistory, valueText } from './history.ts'
export type { SimulatedChange, SimulatedRows } from './history.ts'
export { SimulatedSource } from './source.ts'
export type { SimulatedOptions } from './source.ts'
