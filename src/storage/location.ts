import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { FrazilError } from '../base/index.ts'

/**
 * Local locations are `file://` followed by the path as it is, never percent-encoded: Java's Hadoop path, PyArrow and DuckDB all
 * take the text after `file://` literally, so an encoded location would name another file for each of them. What remains
 * are characters at which one of them cuts or refuses a location; a warehouse directory must not contain those.
 */
const unreadable = /["#?%\\]|\p{Cc}/u

/** The absolute path that a local location (`file:///a/b`, `file:/a/b`, `/a/b`) names. Throws `config`, code `not-local`. */
export function localPath(uri: string): string {
  let path: string
  if (uri.startsWith('file:///')) path = uri.slice('file://'.length)
  else if (uri.startsWith('file:/') && !uri.startsWith('file://')) path = uri.slice('file:'.length)
  else if (uri.startsWith('/')) path = uri
  else throw new FrazilError('config', 'not-local', `${uri} is not the location of a local file`)
  if (path.includes('\0')) throw new FrazilError('config', 'not-local', 'a location contains a zero byte')
  return path
}

/** The location of a directory given as `file:` URI or absolute path, normalised. Throws `config`, code `warehouse-path`. */
export function directoryLocation(uriOrDirectory: string): string {
  if (!uriOrDirectory.startsWith('/') && !uriOrDirectory.startsWith('file:/'))
    throw new FrazilError(
      'config',
      'warehouse-path',
      `the warehouse '${uriOrDirectory}' is not an absolute path or a file:// URI`,
    )
  const path = resolve(localPath(uriOrDirectory))
  const bad = unreadable.exec(path)
  if (bad !== null)
    throw new FrazilError('config', 'warehouse-path', `the warehouse path contains ${JSON.stringify(bad[0])}`, {
      hint: 'Iceberg readers cut or refuse locations with " # ? % \\ or control characters: choose another directory',
    })
  if (path === '/') throw new FrazilError('config', 'warehouse-path', 'the warehouse cannot be the root directory')
  return `file://${path}`
}

const plainName = /^[a-z0-9_][a-z0-9_.-]{0,79}$/
const hashedName = /-x[0-9a-f]{16}$/

/**
 * One path segment for a namespace or table name, safe in every store and for every reader: lower-case letters, digits,
 * `_`, `-` and `.` stand for themselves; any other name keeps what it can and ends in a hash of itself. Different names give
 * different segments, also where a file system ignores case.
 */
export function locationSegment(name: string): string {
  if (plainName.test(name) && !hashedName.test(name)) return name
  const readable = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '_')
    .slice(0, 60)
  return `${readable}-x${createHash('sha256').update(name).digest('hex').slice(0, 16)}`
}
