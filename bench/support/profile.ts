import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** The functions with the most own time of each thread, from the `.cpuprofile` files that node left in `folder`. */
export function topFunctions(folder: string, most = 15): string {
  if (!existsSync(folder)) return '(no profile was written)'
  const root = join(import.meta.dirname, '../..')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .map((name) => {
      const profile = JSON.parse(readFileSync(join(folder, name), 'utf8')) as CpuProfile
      const places = new Map(
        profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
          const file = url.startsWith('file://') ? relative(root, url.slice('file://'.length)) : url
          return [id, `${functionName === '' ? '(anonymous)' : functionName}${file === '' ? '' : ` ${file}:${lineNumber + 1}`}`]
        }),
      )
      const own = new Map<string, number>()
      let total = 0
      profile.samples.forEach((id, i) => {
        const place = places.get(id) ?? '?'
        own.set(place, (own.get(place) ?? 0) + profile.timeDeltas[i])
        total += profile.timeDeltas[i]
      })
      const lines = [...own]
        .sort((a, b) => b[1] - a[1])
        .slice(0, most)
        .map(
          ([place, micros]) =>
            `${((100 * micros) / total).toFixed(1).padStart(6)} %  ${(micros / 1000).toFixed(0).padStart(7)} ms  ${place}`,
        )
      return `${name} (${(total / 1e6).toFixed(1)} s)\n${lines.join('\n')}`
    })
    .join('\n\n')
}
