import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Issue } from './config-issues.ts'

/** Where the values of `${env:NAME}` and `${file:path}` come from. */
export interface ReferenceParts {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Relative paths start here. */
  readonly folder: string
}

/** Copies a parsed configuration with all references filled in; what is missing becomes an issue. */
export function fillReferences(input: unknown, parts: ReferenceParts, issues: Issue[]): unknown {
  const walk = (value: unknown, path: readonly PropertyKey[]): unknown => {
    if (typeof value === 'string') return fillText(value, parts, (message) => issues.push({ path, key: false, message }))
    if (Array.isArray(value)) return value.map((item, i) => walk(item, [...path, i]))
    if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, [...path, key])]))
    }
    return value
  }
  return walk(input, [])
}

function fillText(text: string, parts: ReferenceParts, report: (message: string) => void): string {
  return text.replaceAll(/\$\{([^}]*)\}/g, (whole, inner: string, at: number) => {
    const [, kind, name] = /^(env|file):(.+)$/.exec(inner) ?? []
    if (kind === undefined) {
      report('has a reference that is neither ${env:NAME} nor ${file:path}')
      return ''
    }
    let value: string | undefined
    if (kind === 'env') {
      value = parts.env[name]
      if (value === undefined) report(`needs the environment variable ${name}, which is not set`)
    } else {
      try {
        value = readFileSync(resolve(parts.folder, name), 'utf8').replace(/\r?\n$/, '')
      } catch {
        report(`needs the file ${name}, which cannot be read`)
      }
    }
    if (value === undefined) return ''
    // User and password of a URL: characters such as @ and / must not end them early.
    const inUserinfo = text.slice(0, at).includes('://') && text.slice(at + whole.length).includes('@')
    return inUserinfo ? encodeURIComponent(value) : value
  })
}
