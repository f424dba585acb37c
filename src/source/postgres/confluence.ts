import type { SourceEvent } from '../../data/index.ts'

type Events = readonly SourceEvent[]
/** Arrays of events; asking for the next one says that the last one was dealt with. */
export type Lane = AsyncIterator<Events, void>

interface Asked {
  readonly lane: Lane
  /** Null while the lane has not answered. */
  answer: IteratorResult<Events, void> | { readonly error: unknown } | null
}

/**
 * Several lanes of events as one: each at its own pace, taking turns where several have something, so that none starves another. A lane
 * is asked for more only when whoever takes the events has come back after its last array.
 */
export class Confluence {
  #idle: Lane[] = []
  /** In the order of their turns. */
  #asked: Asked[] = []
  #wake: () => void = () => {}

  /** Also while {@link flow} runs. */
  add(lane: Lane): void {
    this.#idle.push(lane)
    this.#wake()
  }

  /** Ends when all lanes have. Throws what a lane throws; the others are left as they are. */
  async *flow(): AsyncGenerator<Events, void> {
    for (;;) {
      for (const lane of this.#idle.splice(0)) this.#ask(lane)
      if (this.#asked.length === 0) return
      const turn = this.#asked.findIndex(({ answer }) => answer !== null)
      if (turn < 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
        continue
      }
      const [{ lane, answer }] = this.#asked.splice(turn, 1)
      if (answer === null) continue
      if ('error' in answer) throw answer.error
      if (answer.done === true) continue
      yield answer.value
      this.#idle.push(lane)
    }
  }

  #ask(lane: Lane): void {
    const asked: Asked = { lane, answer: null }
    this.#asked.push(asked)
    lane
      .next()
      .then(
        (answer) => {
          asked.answer = answer
        },
        (error: unknown) => {
          asked.answer = { error }
        },
      )
      .finally(() => this.#wake())
      .catch(() => {})
  }
}
