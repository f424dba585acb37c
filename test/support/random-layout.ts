import type { ConfigInput } from '../../src/index.ts'
import { quoted } from './workload-tables.ts'
import type { ComparedType, WorkloadTable } from './workload-tables.ts'

interface Random {
  below(bound: number): number
}

/** Partition fields with few values for columns of a type. */
const partitions: Partial<Record<ComparedType, readonly ((column: string) => string)[]>> = {
  boolean: [(column) => column],
  decimal: [(column) => `bucket(3, ${column})`],
  integer: [(column) => `bucket(3, ${column})`, (column) => `truncate(100000000, ${column})`],
  text: [(column) => `truncate(1, ${column})`, (column) => `bucket(4, ${column})`],
  uuid: [(column) => `bucket(4, ${column})`],
  bytea: [(column) => `bucket(2, ${column})`],
  date: [(column) => `bucket(3, ${column})`],
  time: [(column) => `bucket(3, ${column})`],
  timestamp: [(column) => `bucket(2, ${column})`],
  timestamptz: [(column) => `bucket(2, ${column})`],
}

/** Settings that partition and sort tables in any way, or not. */
export function randomLayouts(tables: readonly WorkloadTable[], random: Random): ConfigInput['tables'] {
  const settings: Record<string, { 'partition-by'?: string[]; 'sort-by'?: string[] }> = {}
  for (const table of tables) {
    const partitioned = table.columns.filter(({ compared, array }) => !array && partitions[compared] !== undefined)
    const sorted = table.columns.filter(({ compared, array }) => !array && compared !== 'nested')
    const some = <T>(from: readonly T[], most: number): T[] =>
      from.length === 0 ? [] : [...new Set(Array.from({ length: random.below(most + 1) }, () => from[random.below(from.length)]))]
    settings[`shop.${table.lakeName}`] = {
      'partition-by': some(partitioned, 2).map(({ name, compared }) => {
        const ways = partitions[compared] ?? []
        return ways[random.below(ways.length)](quoted(name))
      }),
      'sort-by': some(sorted, 3).map(
        ({ name }) => `${quoted(name)}${['', ' desc', ' nulls last', ' desc nulls first'][random.below(4)]}`,
      ),
    }
  }
  return settings
}
