export { runDemo } from './run-demo.ts'
export type { DemoOptions } from './run-demo.ts'
