import { createHash, timingSafeEqual } from 'node:crypto'
import { FrazilError } from '../base/index.ts'

/** What a token may do with a table: `read` its rows and its state; `write` rows, make it, drop it, ask for work on it. */
export type Right = 'read' | 'write'

/** What a token may do. Plain data: it travels to other threads, which need not know the token. Several may be of one token. */
export interface TokenRule {
  /** {@link tokenHash} of the token. */
  readonly hash: Uint8Array
  /** `*`, or globs over namespace and table, divided by the first dot: `shop.*`. */
  readonly tables: readonly string[]
  readonly may: readonly Right[]
}

interface Grant {
  readonly tables: readonly TablePattern[]
  readonly may: ReadonlySet<Right>
}

/** Globs over namespace and table; null stands for all tables. */
type TablePattern = { readonly database: RegExp; readonly table: RegExp } | null

/** Who sends a request: the rights of its token, or all of them where no tokens are configured. */
export class Caller {
  /** Null: everything is allowed. */
  readonly #grants: readonly Grant[] | null

  constructor(grants: readonly Grant[] | null) {
    this.#grants = grants
  }

  /** Whether no table is hidden from it. */
  get seesAll(): boolean {
    return this.mayAll('read') || this.mayAll('write')
  }

  mayAll(right: Right): boolean {
    return this.#grants === null || this.#grants.some(({ tables, may }) => may.has(right) && tables.includes(null))
  }

  may(right: Right, database: string, table: string): boolean {
    return this.#grants === null || this.#grants.some(({ tables, may }) => may.has(right) && matches(tables, database, table))
  }

  /** Whether it has a right at all. */
  get isKnown(): boolean {
    return this.#grants === null || this.#grants.length > 0
  }

  /** Whether it may know that there is such a table. */
  sees(database: string, table: string): boolean {
    return this.may('read', database, table) || this.may('write', database, table)
  }

  /**
   * Throws `request` `forbidden` unless it may do that. Decided by the name alone, before anybody asks whether there is such a table:
   * the answer does not tell.
   */
  demand(right: Right, database: string, table: string): void {
    if (!this.may(right, database, table)) throw forbidden(right, `${database}.${table}`)
  }
}

function forbidden(right: Right, table: string): FrazilError {
  return new FrazilError('request', 'forbidden', `this token may not ${right} ${table}`, {
    hint: `The configuration has to let it: auth.tokens[].tables and may: [${right}].`,
  })
}

const everybody = new Caller(null)
const nobody = new Caller([])

/** The tokens that a server knows. */
export class Access {
  readonly #tokens: { readonly hash: Uint8Array; readonly caller: Caller }[] = []

  constructor(rules: readonly TokenRule[]) {
    const grants = new Map<string, { readonly hash: Uint8Array; readonly own: Grant[] }>()
    for (const { hash, tables, may } of rules) {
      const name = Buffer.from(hash).toString('hex')
      const known = grants.get(name) ?? { hash, own: [] }
      grants.set(name, known)
      known.own.push({ tables: tables.map(tablePattern), may: new Set(may) })
    }
    for (const { hash, own } of grants.values()) this.#tokens.push({ hash, caller: new Caller(own) })
  }

  /** Whether requests need a token. */
  get isClosed(): boolean {
    return this.#tokens.length > 0
  }

  /** Who sends a request without a token to a route that needs none. */
  get stranger(): Caller {
    return this.isClosed ? nobody : everybody
  }

  /** Who sends this `Authorization` header. Throws `request` `unauthorized`. */
  caller(authorization: string | undefined): Caller {
    if (!this.isClosed) return everybody
    if (authorization === undefined) {
      throw new FrazilError('request', 'unauthorized', 'this server wants a token: Authorization: Bearer …')
    }
    const [, token] = /^Bearer +([^ ]+) *$/i.exec(authorization) ?? []
    // Hashes are of one length and say nothing of the token; all are compared, so that the time does not tell which one it is.
    const hash = tokenHash(token ?? '')
    let found: Caller | null = null
    for (const known of this.#tokens) if (timingSafeEqual(known.hash, hash)) found = known.caller
    if (found) return found
    throw new FrazilError('request', 'unauthorized', 'the token is none that this server knows')
  }
}

/** SHA-256 of a token: what is kept of it to know it again. */
export function tokenHash(token: string): Uint8Array {
  return createHash('sha256').update(token).digest()
}

function tablePattern(text: string): TablePattern {
  if (text === '*') return null
  const dot = text.indexOf('.')
  return { database: glob(text.slice(0, dot)), table: glob(text.slice(dot + 1)) }
}

function glob(text: string): RegExp {
  return new RegExp(
    `^${text
      .split('*')
      .map((part) => part.replaceAll(/[\\^$.+?()[\]{}|]/g, '\\$&'))
      .join('.*')}$`,
    'su',
  )
}

function matches(patterns: readonly TablePattern[], database: string, table: string): boolean {
  return patterns.some((pattern) => pattern === null || (pattern.database.test(database) && pattern.table.test(table)))
}
