import { z } from 'zod'
import type { Issue } from './config-issues.ts'
import { Secret } from './secret.ts'

/** What a token may do with a table: `read` its rows and its state; `write` rows, make it, drop it, ask for work on it. */
export type Right = 'read' | 'write'

/** One entry of `auth.tokens`. The same token may stand in several: it has the rights of all of them. */
export interface TokenConfig {
  readonly token: Secret
  /** `*`, or globs over namespace and table, divided by the first dot: `shop.*`. */
  readonly tables: readonly string[]
  readonly may: readonly Right[]
}

/** Files with a certificate (and its chain) and its private key, in PEM. */
export interface TlsConfig {
  readonly cert: string
  readonly key: string
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
  .meta({ description: 'Who may do what over HTTP. Default: everything, from this machine only.' })

const pemFile = (description: string) =>
  z.string({ error: 'must be the path of a PEM file' }).min(1, 'must be the path of a PEM file').meta({ description })

/** `tls`. */
export const tls = z
  .strictObject(
    {
      cert: pemFile('File with the certificate and its chain, in PEM.'),
      key: pemFile('File with the private key, in PEM.'),
    },
    { error: 'must have cert and key, each the path of a PEM file' },
  )
  .optional()
  .meta({ description: 'HTTPS (TLS 1.2 or newer) on `listen`, instead of HTTP. Files that change are read again.' })

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
