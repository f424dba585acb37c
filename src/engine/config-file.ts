import { readFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { LineCounter, isMap, isNode, isScalar, parseDocument } from 'yaml'
import type { Document } from 'yaml'
import { FrazilError, asError } from '../base/index.ts'
import { resolveConfig } from './config.ts'
import type { Config } from './config.ts'
import type { ReferenceParts } from './references.ts'

/** Largest configuration file that is read, in bytes. */
const maxFileBytes = 4 << 20

/** Reads `frazil.yaml`. Throws `config`: `config-missing`, `config-yaml` or `config-invalid`, with line and column. */
export function loadConfig(path: string, env: ReferenceParts['env']): Config {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new FrazilError('config', 'config-missing', `cannot read the configuration file ${path}: ${asError(error).message}`, {
      cause: error,
      hint: 'name one with --config, or see docs/configuration.md for how to write it',
    })
  }
  return parseConfig(text, path, env)
}

/** The configuration in a YAML text; `path` gives the folder for relative paths and the name in messages. */
export function parseConfig(text: string, path: string, env: ReferenceParts['env']): Config {
  const name = basename(path)
  const folder = dirname(resolve(path))
  if (text.length > maxFileBytes) throw new FrazilError('config', 'config-yaml', `${name} is larger than 4 MB`)
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${name}:${line}:${col}`
  }
  if (document.errors.length > 0) {
    const { message, pos } = document.errors[0]
    throw new FrazilError('config', 'config-yaml', `${place(pos[0])}: ${message}`)
  }
  let content: unknown
  try {
    content = document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    throw new FrazilError('config', 'config-yaml', `${name}: ${asError(error).message}`, { cause: error })
  }
  return resolveConfig(content, {
    folder,
    env,
    locate: (issuePath, key) => place(offsetOf(document, issuePath, key)),
  })
}

/** Where a path stands in the file: its value, its key, or the nearest thing above it that is there. */
function offsetOf(document: Document, path: readonly PropertyKey[], key: boolean): number {
  const parent = document.getIn(path.slice(0, -1), true)
  if (key && isMap(parent)) {
    const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(path.at(-1)))
    if (isNode(pair?.key)) return pair.key.range?.[0] ?? 0
  }
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
    if (isNode(node) && node.range) return node.range[0]
  }
  return 0
}
