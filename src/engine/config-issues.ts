import { z } from 'zod'
import { nearest } from '../base/index.ts'

/** One thing that is wrong with a configuration. */
export interface Issue {
  readonly path: readonly PropertyKey[]
  /** True when the key itself is wrong, not its value. */
  readonly key: boolean
  /** Goes on after the path: `must be …`, `is not …`. */
  readonly message: string
}

/** The part of JSON Schema that a configuration's schema uses. */
export interface ConfigNode {
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, ConfigNode>>
  readonly additionalProperties?: ConfigNode | false
  /** Of several forms: the settings of a source, by its type. */
  readonly oneOf?: readonly ConfigNode[]
  readonly items?: ConfigNode
  readonly required?: readonly string[]
  readonly later?: boolean
  readonly form?: string
}

/** The schema as JSON Schema of what a person writes, with descriptions and defaults. */
export function configNode(schema: z.ZodType): ConfigNode {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as ConfigNode
}

/** zod's issues as sentences. Nothing is said about the settings of a source whose type is wrong. */
export function describeIssues(issues: readonly z.core.$ZodIssue[], schema: z.ZodType, input: unknown): Issue[] {
  const wrongSources = new Set(issues.filter(({ path }) => isSourceType(path)).map(({ path }) => String(path[1])))
  const root = configNode(schema)
  return issues.flatMap((issue): Issue[] => {
    const { path } = issue
    if (path[0] === 'sources' && wrongSources.has(String(path[1])) && !isSourceType(path)) return []
    if (issue.code === 'unrecognized_keys') {
      const known = knownKeys(root, path, input)
      return issue.keys.map((key) => ({ path: [...path, key], key: true, message: unknownKey(key, known) }))
    }
    if (issue.code === 'invalid_key') {
      const message =
        path.at(-1) === 'http'
          ? 'is the name of the events that arrive over HTTP; choose another one'
          : 'is not a good name: up to 56 characters A-Z, a-z, 0-9, _ and -, not beginning with a digit'
      return [{ path, key: true, message }]
    }
    return [{ path, key: false, message: issue.message }]
  })
}

function isSourceType(path: readonly PropertyKey[]): boolean {
  return path.length === 3 && path[0] === 'sources' && path[2] === 'type'
}

function knownKeys(root: ConfigNode, path: readonly PropertyKey[], input: unknown): string[] {
  let node: ConfigNode | undefined = root
  let value = input
  for (const key of path) {
    node = node?.properties?.[String(key)] ?? (node?.additionalProperties || node?.items)
    value = member(value, key)
    const type = member(value, 'type')
    node = node?.oneOf?.find(({ properties }) => properties?.['type']?.const === type) ?? node
  }
  return Object.entries(node?.properties ?? {})
    .filter(([, child]) => !child.later)
    .map(([name]) => name)
}

function member(value: unknown, key: PropertyKey): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
}

function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  return near === null ? `is not a known key; known are ${known.join(', ')}` : `is not a known key; did you mean "${near}"?`
}
