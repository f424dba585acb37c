import { createServer } from 'node:net'
import { checkKeyPair } from '../../access/index.ts'
import { FrazilError } from '../../base/index.ts'
import { checkHost, isInTheClear, listen } from './endpoints.ts'
import type { Address } from './endpoints.ts'

/** What `frazil check` finds out about a source of OpenTelemetry; there are no tables at it to tell of. */
export interface OtlpReport {
  readonly findings: readonly {
    readonly level: 'ok' | 'warning' | 'error'
    readonly code: string
    readonly message: string
    readonly hint: string | null
    readonly table: null
  }[]
  readonly tables: readonly never[]
  readonly leftOut: readonly never[]
}

/** Whether its ports can be taken, and its certificate. `running`: a process of this lake runs, which then has them. */
export async function checkOtlpSource(
  { http, grpc }: { readonly http: Address | null; readonly grpc: Address | null },
  hasTokens: boolean,
  running: boolean,
): Promise<OtlpReport> {
  const findings: OtlpReport['findings'][number][] = []
  for (const [what, address] of [
    ['HTTP', http],
    ['gRPC', grpc],
  ] as const) {
    if (!address) continue
    try {
      checkHost(address, hasTokens)
      if (address.tls) await checkKeyPair(address.tls)
      if (!running) await probe(address)
      const message = `OTLP over ${what} is taken at ${address.host}:${address.port}`
      findings.push({ level: 'ok', code: 'listening', message, hint: null, table: null })
      if (!isInTheClear(address)) continue
      const warning = `${message}: other machines send tokens and records in the clear`
      findings.push({ level: 'warning', code: 'no-tls', message: warning, hint: 'set "tls"', table: null })
    } catch (error) {
      if (!(error instanceof FrazilError)) throw error
      findings.push({ level: 'error', code: error.code, message: error.message, hint: error.hint ?? null, table: null })
    }
  }
  return { findings, tables: [], leftOut: [] }
}

async function probe(address: Address): Promise<void> {
  const server = createServer()
  await listen(server, address)
  await new Promise<void>((resolve) => server.close(() => resolve()))
}
