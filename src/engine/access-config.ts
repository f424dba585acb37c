import { resolve } from 'node:path'
import { z } from 'zod'
import { tokenHash } from '../access/index.ts'
import type { Right, TlsConfig, TokenRule } from '../access/index.ts'
import type { Issue } from './config-issues.ts'
import { Secret } from './secret.ts'

/** One entry of `auth.tokens`. The same token may stand in several: it has the rights of all of them. */
export interface TokenConfig {
  readonly token: Secret
  /** `*`, or globs over namespace and table, divided by the first dot: `shop.*`. */
  readonly tables: readonly string[]
  readonly may: readonly Right[]
}

/** What servers have to know of tokens. */
export function tokenRules(tokens: readonly TokenConfig[]): TokenRule[] {
  return tokens.map(({ token, tables, may }) => ({ hash: tokenHash(token.reveal()), tables, may }))
}

/** A token that is guessed costs everything; shorter ones are words. */
const shortestToken = 16
const longestToken = 1024

const tablesForm = "must be a list of tables, for example ['shop.*'] or ['*']"
const mayForm = 'must be a list of read and write, for example [read]'

const token = z
  .strictObject(
    {
      token: z
        .string({ error: 'is needed: a reference such as ${env:FRAZIL_TOKEN}' })
        .transform((value, ctx) => {
          // What RFC 6750 lets stand behind `Bearer`.
          if (/^[A-Za-z0-9._~+/-]+=*$/.test(value) && value.length >= shortestToken && value.length <= longestToken) {
            return new Secret(value)
          }
          ctx.addIssue(`must have at least ${shortestToken} characters A-Z, a-z, 0-9, - . _ ~ + and /`)
          return z.NEVER
        })
        .meta({ description: 'The token, as a reference only: `${env:FRAZIL_TOKEN}` or `${file:path}`.' }),
      tables: z
        .array(z.string({ error: tablesForm }).regex(/^(?:\*|[^.]+\..+)$/, tablesForm), { error: tablesForm })
        .min(1, tablesForm)
        .meta({ description: "Tables by namespace and name; `*` stands for any characters: `['shop.*']`, `['*']` for all." }),
      may: z
        .array(z.enum(['read', 'write'], { error: mayForm }), { error: mayForm })
        .min(1, mayForm)
        .meta({
          description:
            '`read`: queries, look-ups, state. `write`: rows, making and dropping tables, snapshot, optimize, resync. See [tokens](http.md#tokens).',
        }),
    },
    { error: 'must have token, tables and may' },
  )
  .meta({ description: 'A token. It may stand in several entries, and has the rights of all.' })

const authForm = 'must have tokens under it, for example {tokens: [{token: "${env:FRAZIL_TOKEN}", tables: [\'*\'], may: [read]}]}'

/** `auth`. Without tokens anybody on this machine may do everything, and nobody else can connect. */
export const auth = z
  .strictObject(
    {
      tokens: z.array(token, { error: 'must be a list of tokens' }).min(1, 'must have at least one token').meta({
        description: 'Tokens and what they may do. With any, every request needs one; needed to listen beyond this machine.',
        form: 'tokens',
      }),
    },
    { error: authForm },
  )
  .optional()
  .meta({ description: 'Who may do what over HTTP and OTLP. Default: everything, from this machine only.' })

const pemFile = (description: string) =>
  z.string({ error: 'must be the path of a PEM file' }).min(1, 'must be the path of a PEM file').meta({ description })

const keyPair = (description: string) =>
  z
    .strictObject(
      {
        cert: pemFile('File with the certificate and its chain, in PEM.'),
        key: pemFile('File with the private key, in PEM.'),
      },
      { error: 'must have cert and key, each the path of a PEM file' },
    )
    .optional()
    .meta({ description })

/** `tls`. */
export const tls = keyPair(
  'HTTPS (TLS 1.2 or newer) on `listen`, instead of HTTP; and on the addresses of OTLP that other machines can reach. Files that change are read again.',
)

/** `tls` of a source that programs connect to. */
export const sourceTls = keyPair(
  'TLS on all addresses of this source. Default: the general `tls` on those that other machines can reach, none on those of this machine (loopback).',
)

/** With absolute paths. */
export function tlsFiles(given: TlsConfig | undefined, folder: string): TlsConfig | null {
  return given ? { cert: resolve(folder, given.cert), key: resolve(folder, given.key) } : null
}

/** Tokens that stand in a configuration as they are: it is copied, shown and checked in. */
export function plainTokens(input: unknown): Issue[] {
  const tokens = (input as { auth?: { tokens?: unknown } } | null | undefined)?.auth?.tokens
  if (!Array.isArray(tokens)) return []
  return (tokens as readonly ({ token?: unknown } | null)[]).flatMap((entry, i): Issue[] => {
    const text = entry?.token
    if (typeof text !== 'string' || /^\$\{(?:env|file):[^}]+\}$/.test(text)) return []
    const message = 'must be a reference, not the token itself: write ${env:NAME} or ${file:path}'
    return [{ path: ['auth', 'tokens', i, 'token'], key: false, message }]
  })
}
