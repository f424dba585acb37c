/**
 * What happens inside an engine, told once for a batch, a file, a commit, a query: never for a row. Logger and metrics read
 * these and nothing else. No event carries row values or secrets.
 */
export type EngineEvent =
  /** A source changed its state. */
  | {
      readonly type: 'source'
      readonly source: string
      readonly state: 'starting' | 'copying' | 'streaming' | 'retrying' | 'failed' | 'stopped'
      /** Why, as one sentence; null where the state says it all. */
      readonly reason: string | null
    }
  /** A table changed its health. `table` is `namespace.table`. */
  | {
      readonly type: 'table'
      readonly source: string
      readonly table: string
      readonly health: 'copying' | 'streaming' | 'stopped' | 'detached'
      readonly reason: string | null
    }
  /** Source commits became visible: one event for each array of source events. `bytes` are decoded source bytes, 0 if unknown. */
  | {
      readonly type: 'applied'
      readonly source: string
      readonly commits: number
      readonly rows: number
      readonly bytes: number
      /** Milliseconds from the last commit at the source to its being visible. */
      readonly lagMs: number | null
    }
  /** Rows of an initial copy since the last such event. */
  | { readonly type: 'copying'; readonly source: string; readonly table: string; readonly rows: number }
  /** The initial copy of a table is complete. */
  | { readonly type: 'copied'; readonly source: string; readonly table: string; readonly rows: number }
  /** A data file is staged: uploaded, in no snapshot yet. */
  | {
      readonly type: 'staged'
      readonly source: string
      readonly table: string
      readonly rows: number
      readonly bytes: number
      readonly ms: number
    }
  /** A lake commit: everything up to `position` is in Iceberg. */
  | {
      readonly type: 'committed'
      readonly source: string
      readonly position: string
      readonly tables: number
      readonly files: number
      readonly rows: number
      readonly deletes: number
      /** Objects written for it, data files and metadata. */
      readonly objects: number
      readonly ms: number
    }
  /** Data files were rewritten: `filesOut` with the same `rows` have taken the place of `filesIn`. */
  | {
      readonly type: 'compacted'
      readonly source: string
      readonly table: string
      readonly filesIn: number
      readonly filesOut: number
      readonly bytesIn: number
      readonly bytesOut: number
      readonly rows: number
      readonly ms: number
    }
  /** Files that processes which have ended left behind, and that nothing refers to, were removed. `table` is `namespace.table`. */
  | { readonly type: 'swept'; readonly source: string; readonly table: string; readonly files: number; readonly bytes: number }
  /** Another program has changed a table, and its files were taken over: so many are gone, so many have come. */
  | { readonly type: 'followed'; readonly source: string; readonly table: string; readonly gone: number; readonly came: number }
  /** Something outside did not answer and is tried again. `what` is one of a few fixed words, for example `postgres`, `catalog`. */
  | {
      readonly type: 'retry'
      readonly what: string
      /** For whose sake, where it is one source alone. */
      readonly source?: string
      readonly attempt: number
      readonly delayMs: number
      readonly code: string
      readonly message: string
    }
  /** Values that Iceberg cannot hold became others, as `out-of-range` says; since the last such event. */
  | { readonly type: 'replaced'; readonly source: string; readonly values: number }
  /** Requests by OTLP since the last such event that were alike in this: how they came, with what, and what became of them. */
  | {
      readonly type: 'received'
      readonly source: string
      readonly transport: 'http' | 'grpc'
      readonly signal: 'logs' | 'traces' | 'metrics' | 'unknown'
      /** `later`: may come again; `denied`: no token, or none that may do it; `refused`: never. */
      readonly outcome: 'stored' | 'later' | 'denied' | 'refused'
      readonly requests: number
      /** Of their bodies, as sent. */
      readonly bytes: number
      /** Stored, and refused though their requests were stored. */
      readonly records: number
      readonly rejected: number
    }
  /** A query was answered or refused; `code` is null or the error's. */
  | {
      readonly type: 'query'
      readonly ms: number
      readonly rows: number
      readonly bytes: number
      /** Data files that were read, and those that were left out because of their column metrics; null when it failed. */
      readonly files: { readonly read: number; readonly skipped: number } | null
      readonly code: string | null
    }
  /** Anything that went wrong and was not simply answered to a caller. */
  | {
      readonly type: 'error'
      readonly kind: string
      readonly code: string
      readonly message: string
      readonly hint: string | null
      readonly source: string | null
      readonly table: string | null
    }
  /** The memory budget made the engine act. */
  | {
      readonly type: 'pressure'
      readonly action: 'history' | 'caches' | 'spilling' | 'staging' | 'paused' | 'resumed'
      readonly used: number
    }
  /** Who may write the lake. */
  | { readonly type: 'lease'; readonly state: 'acquired' | 'lost' | 'released'; readonly holder: string }
  /** A sentence that a person running the engine wants to read. */
  | { readonly type: 'notice'; readonly level: 'info' | 'warn'; readonly message: string; readonly hint: string | null }

export type EventListener = (event: EngineEvent) => void

/** Hands each event to each listener, at once and in order. */
export class EventBus {
  #listeners: readonly EventListener[] = []

  /** Calls every listener. One that throws does not stop the others or the engine: its error surfaces as uncaught. */
  emit(event: EngineEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  /** Adds a listener; the function returned removes it. */
  on(listener: EventListener): () => void {
    this.#listeners = [...this.#listeners, listener]
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener)
    }
  }
}
