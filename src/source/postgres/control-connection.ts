import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import { connectControl, disconnect, placeOf } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { postgresError } from './errors.ts'

/** The connection on which a source asks its server something beside the stream and the copies: made when it is needed. */
export class ControlConnection {
  readonly #endpoint: Endpoint
  #connecting: Promise<Client> | null = null
  /** What {@link #connecting} came to. */
  #client: Client | null = null
  #lastAnswer: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint
  }

  /** Rejects with `unavailable` (`closed`) behind {@link close}, and as a connection does that cannot be made. */
  async client(): Promise<Client> {
    if (this.#isClosed) throw new FrazilError('unavailable', 'closed', 'the source is closed')
    if (this.#connecting) return this.#connecting
    const connecting = connectControl(this.#endpoint)
    const forget = (): void => {
      if (this.#connecting === connecting) this.#connecting = this.#client = null
    }
    connecting.then((client) => {
      client.once('end', forget)
      if (this.#connecting === connecting) this.#client = client
    }, forget)
    this.#connecting = connecting
    return connecting
  }

  /** Ends the connection; whoever asks next has a new one. One that is still being made stays: it is a new one. */
  async drop(): Promise<void> {
    const client = this.#client
    if (client === null) return
    this.#client = this.#connecting = null
    await disconnect(client)
  }

  /** For good. One that is still being made is not waited for: it ends when it is there. */
  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#client) return this.drop()
    this.#connecting?.then(disconnect).catch(() => {})
    this.#connecting = null
  }

  /** Asks the server something, one question at a time; once more on a new connection if the old one has gone. */
  ask<T>(question: (client: Client) => Promise<T>): Promise<T> {
    const answer = this.#lastAnswer.then(async () => {
      for (let attempt = 0; ; attempt++) {
        try {
          return await question(await this.client())
        } catch (error) {
          await this.drop()
          const failure = postgresError(error, placeOf(this.#endpoint.url))
          if (attempt > 0 || failure.kind !== 'unavailable' || this.#isClosed) throw failure
        }
      }
    })
    this.#lastAnswer = answer.catch(() => {})
    return answer
  }
}
