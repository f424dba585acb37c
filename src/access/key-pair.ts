import { readFile } from 'node:fs/promises'
import type { Server } from 'node:net'
import { Server as TlsServer, createSecureContext } from 'node:tls'
import { FrazilError, asError } from '../base/index.ts'

/** Certificates and keys are looked at this often. */
const watchEveryMs = 10_000
/** The oldest version of TLS that servers speak. */
export const oldestTls = 'TLSv1.2'

/** Files with a certificate (and its chain) and its private key, in PEM. */
export interface TlsConfig {
  readonly cert: string
  readonly key: string
}

/** The same, read. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** Gets what is worth a line in the log; `reason` says why something is as it is. */
export type Tell = (level: 'info' | 'warn', message: string, reason: string | null) => void

/** The key pair of servers, which follows its files. */
export class KeyPairFiles {
  readonly #files: TlsConfig
  #current: KeyPair

  private constructor(files: TlsConfig, current: KeyPair) {
    this.#files = files
    this.#current = current
  }

  /** Throws `config` `tls-files`. */
  static async open(files: TlsConfig): Promise<KeyPairFiles> {
    return new KeyPairFiles(files, await readPair(files))
  }

  get current(): KeyPair {
    return this.#current
  }

  /** Gives the servers what the files have now, if that is new. Throws `config` `tls-files`; they then go on with what they have. */
  async reload(servers: readonly Server[]): Promise<boolean> {
    const { cert, key } = await readPair(this.#files)
    if (cert === this.#current.cert && key === this.#current.key) return false
    for (const server of servers) {
      if (server instanceof TlsServer) server.setSecureContext({ cert, key, minVersion: oldestTls })
    }
    this.#current = { cert, key }
    return true
  }

  /** Looks at the files from time to time. Returns how to end that. */
  watch(servers: readonly Server[], tell: Tell): () => void {
    let complained = ''
    const timer = setInterval(() => {
      this.reload(servers).then(
        (isNew) => {
          complained = ''
          if (isNew) tell('info', 'the certificate is a new one now', null)
        },
        (error: unknown) => {
          const { message } = asError(error)
          // Two files that change one after the other do not fit each other for a moment.
          if (message !== complained) tell('warn', 'the certificate stays as it is', message)
          complained = message
        },
      )
    }, watchEveryMs)
    timer.unref()
    return () => clearInterval(timer)
  }
}

/** Throws `config` `tls-files` unless the files are a certificate and its key. */
export async function checkKeyPair(files: TlsConfig): Promise<void> {
  await readPair(files)
}

async function readPair(files: TlsConfig): Promise<KeyPair> {
  const read = async (path: string): Promise<string> => {
    try {
      return await readFile(path, 'utf8')
    } catch (cause) {
      throw new FrazilError('config', 'tls-files', `the file ${path} of "tls" cannot be read: ${asError(cause).message}`, {
        cause,
      })
    }
  }
  const [cert, key] = [await read(files.cert), await read(files.key)]
  try {
    createSecureContext({ cert, key })
  } catch (cause) {
    throw new FrazilError(
      'config',
      'tls-files',
      `${files.cert} and ${files.key} are no certificate and its key: ${asError(cause).message}`,
      { cause, hint: 'both have to be PEM, the certificate first in its file, the key without a passphrase' },
    )
  }
  return { cert, key }
}
