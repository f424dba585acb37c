import type { Type, Value } from '../../src/data/index.ts'

/** A value as the answer to a query writes it (design: values in JSON), by another way than the engine's. */
export function expectedJson(type: Type, value: Value): string {
  if (value === null) return 'null'
  switch (type.kind) {
    case 'float':
      return numberText(value as number, (digits) => Math.fround(digits))
    case 'double':
      return numberText(value as number, (digits) => digits)
    case 'decimal': {
      const unscaled = value as bigint
      const whole = (unscaled < 0n ? -unscaled : unscaled) / 10n ** BigInt(type.scale)
      const fraction = (unscaled < 0n ? -unscaled : unscaled) % 10n ** BigInt(type.scale)
      const sign = unscaled < 0n ? '-' : ''
      return type.scale === 0 ? `${sign}${whole}` : `${sign}${whole}.${String(fraction).padStart(type.scale, '0')}`
    }
    case 'date':
      return `"${dayText(BigInt(value as number))}"`
    case 'time':
      return `"${clockText(value as bigint)}"`
    case 'timestamp':
      return `"${momentText(value as bigint, '')}"`
    case 'timestamptz':
      return `"${momentText(value as bigint, 'Z')}"`
    case 'string':
      return jsonText(value as string)
    case 'uuid': {
      const hex = Buffer.from(value as Uint8Array).toString('hex')
      return `"${hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')}"`
    }
    case 'binary':
    case 'fixed':
      return `"${Buffer.from(value as Uint8Array).toString('base64')}"`
    case 'list':
      return `[${(value as Value[]).map((item) => expectedJson(type.element, item)).join(',')}]`
    case 'map':
      return `{${(value as [Value, Value][])
        .map(([key, item]) => `${jsonText(plain(expectedJson(type.key, key)))}:${expectedJson(type.value, item)}`)
        .join(',')}}`
    case 'struct':
      return `{${type.fields.map((field, i) => `"${field.name}":${expectedJson(field.type, (value as Value[])[i])}`).join(',')}}`
    default:
      return String(value)
  }
}

function plain(json: string): string {
  return json.startsWith('"') ? (JSON.parse(json) as string) : json
}

/** As JSON.stringify, which escapes no more than it must; lone surrogates do not occur. */
function jsonText(text: string): string {
  return JSON.stringify(text)
}

function numberText(value: number, round: (digits: number) => number): string {
  if (!Number.isFinite(value)) return `"${value}"`
  if (Object.is(value, -0)) return '-0'
  if (Number.isSafeInteger(value)) return String(value)
  for (let precision = 1; precision < 17; precision++) {
    const digits = Number(value.toPrecision(precision))
    if (Object.is(round(digits), value)) return String(digits)
  }
  return String(value)
}

function dayText(days: bigint): string {
  if (days === 2n ** 31n - 1n || days === -(2n ** 31n - 1n)) return days > 0n ? 'infinity' : '-infinity'
  return civil(days)
}

/** The Gregorian calendar repeats every 400 years of 146,097 days, so Date can be asked about a near one. */
function civil(days: bigint): string {
  let era = days / 146_097n
  if (era * 146_097n > days) era--
  const date = new Date(Number(days - era * 146_097n) * 86_400_000)
  const year = BigInt(date.getUTCFullYear()) + era * 400n
  const size = year < 0n ? -year : year
  const yearText =
    year >= 0n && year <= 9999n ? String(year).padStart(4, '0') : `${year < 0n ? '-' : '+'}${String(size).padStart(6, '0')}`
  return yearText + date.toISOString().slice(4, 10)
}

function clockText(micros: bigint): string {
  const millis = new Date(Number(micros / 1000n)).toISOString().slice(11, 23)
  return millis + String(micros % 1000n).padStart(3, '0')
}

function momentText(micros: bigint, zone: string): string {
  if (micros === 2n ** 63n - 1n || micros === -(2n ** 63n - 1n)) return micros > 0n ? 'infinity' : '-infinity'
  const perDay = 86_400_000_000n
  let days = micros / perDay
  if (days * perDay > micros) days--
  return `${civil(days)}T${clockText(micros - days * perDay)}${zone}`
}
