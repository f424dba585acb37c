const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
}

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3 }

/** Bytes of `512MB`, `1.5 GiB` or a plain number; null when the text is no size. MB is a million bytes, MiB is 2^20. */
export function parseSize(text: string | number): number | null {
  if (typeof text === 'number') return Number.isSafeInteger(text) && text >= 0 ? text : null
  const match = /^(\d+(?:\.\d+)?) *([KMGT]?i?B)$/i.exec(text.trim())
  const unit = match && sizeUnits[match[2].toUpperCase()]
  if (!match || !unit) return null
  const bytes = Math.round(Number(match[1]) * unit)
  return Number.isSafeInteger(bytes) ? bytes : null
}

export interface Address {
  readonly host: string
  readonly port: number
}

const addressPattern = /^(?:\[(?<six>[0-9a-fA-F:.]+)\]|(?<host>[^\s:[\]]+)):(?<port>\d{1,5})$/

/** `127.0.0.1:3030` or `[::1]:3030` taken apart; null when the text is no address with a port. */
export function parseAddress(text: string): Address | null {
  const parts = addressPattern.exec(text)?.groups
  const port = Number(parts?.['port'])
  return parts && port <= 65535 ? { host: parts['six'] ?? parts['host'], port } : null
}

/** Milliseconds of `250ms`, `5s`, `1.5h`, `7d`; null when the text is no duration. A plain number has no unit and is none. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?) *(ms|s|m|h|d)$/.exec(text.trim())
  if (!match) return null
  const ms = Math.round(Number(match[1]) * durationUnits[match[2]])
  return Number.isSafeInteger(ms) ? ms : null
}
