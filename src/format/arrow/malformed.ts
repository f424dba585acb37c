import { FrazilError } from '../../base/index.ts'

/** What is wrong with a body that should be a stream of Arrow. */
export function badArrow(what: string): FrazilError {
  return new FrazilError('request', 'bad-arrow', `the body is not an Arrow IPC stream: it has ${what}`)
}
