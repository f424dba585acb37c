export { HttpSource } from './http-source.ts'
