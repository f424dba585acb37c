/** Where the demo tells what happens: a panel that is drawn anew on a terminal, plain lines elsewhere. */
export interface Screen {
  /** A sentence that stays. */
  say(text: string): void
  /** The state now; a terminal shows all lines in place, elsewhere the first one is printed. */
  show(lines: readonly string[]): void
  /** Leaves the last state where it is. */
  end(): void
}

export function openScreen(out: NodeJS.WriteStream): Screen {
  return out.isTTY ? new Panel(out) : new Lines(out)
}

class Lines implements Screen {
  readonly #out: NodeJS.WriteStream

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
  }

  say(text: string): void {
    this.#out.write(`${text}\n`)
  }

  show(lines: readonly string[]): void {
    this.#out.write(`${lines[0]}\n`)
  }

  end(): void {}
}

class Panel implements Screen {
  readonly #out: NodeJS.WriteStream
  #drawn: readonly string[] = []

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
  }

  say(text: string): void {
    const panel = this.#drawn
    this.#out.write(`${this.#erase()}${text}\n`)
    this.show(panel)
  }

  show(lines: readonly string[]): void {
    // A terminal that does not know its size says 0.
    const width = this.#out.columns || 80
    const fitting = lines
      .slice(0, (this.#out.rows || 24) - 1)
      .map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line))
    this.#out.write(this.#erase() + fitting.map((line) => `${line}\n`).join(''))
    this.#drawn = fitting
  }

  end(): void {
    this.#drawn = []
  }

  /** Moves to the first line of the panel and clears from there. */
  #erase(): string {
    return this.#drawn.length === 0 ? '' : `\u001b[${this.#drawn.length}A\u001b[J`
  }
}
