export { decodeDeletionVector, encodeDeletionVector } from './deletion-vector.ts'
export { readPuffin, writePuffin } from './puffin.ts'
