/**
 * Which files are worth rewriting. A reader pays for each file that it opens, for each deletion vector, and for the bytes of rows that
 * are dead; a rewrite reads and writes the bytes of rows that are alive.
 *
 * Two bounds keep a row from being rewritten too often. Small files wait until there are {@link mostSmall} of them; then those of the
 * most frequent size become one, so that a row is rewritten about once for each tier of sizes up to the target, and the later the fewer
 * files there are of other sizes. Files of any size wait until {@link mostDeadShare} of their rows are dead, so that a rewrite frees
 * about as much as it copies; or until the dead rows of the whole table take {@link mostTableDead} of it, and then the emptiest go, and
 * small files with them: they skip a tier. For there to be an emptiest one, a table has some {@link largeFiles} at least
 * ({@link aimedBytes}). Of what is left, the rewrite that saves readers most for each byte goes first, and one that does not pay for
 * itself within {@link payback} scans of the table is not done at all.
 *
 * A table that rests ({@link RuleSettings.rests}) is read only, so what a rewrite saves is saved for long: its files wait until
 * {@link mostDeadAtRest} of their rows are dead, and small ones until there are {@link mostSmallAtRest}.
 *
 * Files of a table with a sort order whose rows are not in it are rewritten once, some together; so are those that become one.
 */

/** What opening a file costs a reader, in bytes that it could have read instead. Iceberg's planners reckon with the same. */
const openBytes = 4 << 20
/** What a deletion vector costs: another small file, and a test for each row. */
const vectorBytes = 2 << 20
/** Small files that a table, or a partition of it, may have. Where there are several partitions, each has fewer. */
const mostSmall = 44
const mostSmallOfMany = 24
/** Sizes of small files differ by this from one tier to the next. */
const tierRatio = 16
/** Small files that go along with emptied ones have up to this share of the live bytes of those. */
const alongShare = 0.85
/** Share of a file's rows that are dead when it is rewritten in any case. */
const mostDeadShare = 0.7
/** The same where nothing changes any more: ten bytes are copied for each that is freed, at most, once for a rest. */
const mostDeadAtRest = 0.1
const mostSmallAtRest = 8
/** Share of a table's bytes that dead rows may take. */
const mostTableDead = 0.27
/** A table of few bytes has so many files beside its small ones, of these bytes at least. */
const largeFiles = 8
const leastAimedBytes = 1 << 20
/** Dead rows of fewer bytes than this are not worth a rewrite for their own sake. */
const leastDeadBytes = 64 << 10
/** Scans of the table within which a rewrite has to pay for itself. */
const payback = 64
/** Share of a file that a reader of some values would not read if its rows were in the order of the table. */
const unsortedShare = 0.5
/** So many files of the target size are put in order together; what they become does not overlap. */
const sortedFiles = 8
/** Most rows that are put in order together: a rewrite keeps eight bytes for each of them in memory. */
export const mostSortedRows = 8 << 20
/** Most files in one rewrite. */
const mostFiles = 256

/** A data file as the rule sees it: with the deletes that the lake has. */
export interface RatedFile {
  readonly rows: number
  readonly deleted: number
  readonly bytes: number
  /** Whether its rows could be in an order that the table asks for, and are not. */
  readonly unsorted?: boolean
}

export interface RuleSettings {
  /** Bytes that files should have. */
  readonly targetBytes: number
  /** Partitions of the table, of which the files are one; without it, it has one. */
  readonly partitions?: number
  /** Whether nothing has changed in it for a while. */
  readonly rests?: boolean
}

/** Bytes of a file's live rows. */
export function liveBytes({ rows, deleted, bytes }: RatedFile): number {
  return (bytes * (rows - deleted)) / rows
}

/** How many files live rows of so many bytes go into. */
export function outputsFor(bytes: number, targetBytes: number): number {
  return Math.max(1, Math.round(bytes / targetBytes))
}

/**
 * Bytes that files should have where some of them are all that there is: fewer than the target size where a table would have a few files
 * only. Its dead rows would be freed all at one time, or a large part of it be copied for few of them; and between, they would be many.
 * A partition of several has one file.
 */
export function aimedBytes(files: readonly RatedFile[], { targetBytes, partitions = 1 }: RuleSettings): number {
  if (partitions > 1) return targetBytes
  return Math.min(targetBytes, Math.max(leastAimedBytes, sum(files, liveBytes) / largeFiles))
}

/** The files that should become one or a few of {@link aimedBytes} next, in their order; empty when all is well. */
export function chooseFiles<F extends RatedFile>(files: readonly F[], { targetBytes, partitions, rests }: RuleSettings): F[] {
  const settings = { targetBytes: aimedBytes(files, { targetBytes, partitions }), partitions, rests }
  let best: readonly F[] = []
  let bestWorth = 1
  const groups = [smallFiles(files, settings), emptyFiles(files, settings)].map((group) => boundedFiles(group, settings))
  for (const group of [...groups, unsortedFiles(files, { targetBytes })]) {
    const worth = worthOf(group, settings)
    if (worth > bestWorth) {
      best = group
      bestWorth = worth
    }
  }
  const chosen = new Set(best)
  return files.filter((file) => chosen.has(file))
}

/** What {@link payback} scans of the table save, for each byte that a rewrite reads and writes. */
function worthOf(files: readonly RatedFile[], { targetBytes }: RuleSettings): number {
  if (files.length === 0) return 0
  const live = sum(files, liveBytes)
  // That a large file becomes several is for the rewrites to come.
  const opens = Math.max(0, files.length - outputsFor(live, targetBytes))
  const vectors = files.filter(({ deleted }) => deleted > 0).length
  const dead = sum(files, ({ bytes }) => bytes) - live
  const unsorted = unsortedShare * sum(files, (file) => (file.unsorted === true ? liveBytes(file) : 0))
  return (payback * (opens * openBytes + vectors * vectorBytes + dead + unsorted)) / Math.max(1, 2 * live)
}

/** When there are too many small files: those of the tier with the most of them, and all smaller ones. */
function smallFiles<F extends RatedFile>(files: readonly F[], { targetBytes, partitions = 1, rests = false }: RuleSettings): F[] {
  const tier = (file: F): number => tierOf(liveBytes(file), targetBytes)
  const small = files.filter((file) => tier(file) > 0)
  if (small.length < (rests ? mostSmallAtRest : partitions > 1 ? mostSmallOfMany : mostSmall)) return []
  // Of two that have as many, the one with the smaller files.
  const [fullest] = [...Map.groupBy(small, tier)].sort(([a, as], [b, bs]) => bs.length - as.length || b - a)[0]
  return small.filter((file) => tier(file) >= fullest)
}

/** 0 for files that are large enough, then 1 for those that need up to {@link tierRatio} of them to be, and so on. */
function tierOf(bytes: number, targetBytes: number): number {
  let tier = 0
  for (let limit = targetBytes / 2; bytes < limit && tier < 16; limit /= tierRatio) tier++
  return tier
}

/** Files with many dead rows, and small files beside them. */
function emptyFiles<F extends RatedFile>(files: readonly F[], { targetBytes, rests = false }: RuleSettings): F[] {
  const mostDead = rests ? mostDeadAtRest : mostDeadShare
  const byShare = files
    .filter((file) => file.deleted > 0 && file.bytes - liveBytes(file) >= leastDeadBytes)
    .sort((a, b) => b.deleted / b.rows - a.deleted / a.rows)
  const total = sum(files, ({ bytes }) => bytes)
  let dead = total - sum(files, liveBytes)
  const chosen: F[] = []
  for (const file of byShare) {
    if (file.deleted / file.rows < mostDead && dead <= total * mostTableDead) break
    chosen.push(file)
    dead -= file.bytes - liveBytes(file)
  }
  let along = alongShare * sum(chosen, liveBytes)
  const others = files.filter((file) => !chosen.includes(file) && tierOf(liveBytes(file), targetBytes) > 0)
  for (const file of others.sort((a, b) => liveBytes(a) - liveBytes(b))) {
    along -= liveBytes(file)
    if (along < 0) break
    chosen.push(file)
  }
  return chosen
}

/** Files that are not in the order of the table. */
function unsortedFiles<F extends RatedFile>(files: readonly F[], settings: RuleSettings): F[] {
  const unsorted = files.filter((file) => file.unsorted === true)
  return boundedFiles(unsorted, settings, sortedFiles)
}

/** As many of the files as one rewrite takes. */
export function boundedFiles<F extends RatedFile>(files: readonly F[], { targetBytes }: RuleSettings, targets = 2): F[] {
  const group: F[] = []
  let live = 0
  let rows = 0
  for (const file of files) {
    live += liveBytes(file)
    rows += file.rows - file.deleted
    const isTooMuch = live > targets * targetBytes || rows > mostSortedRows || group.length === mostFiles
    if (group.length > 0 && isTooMuch) break
    group.push(file)
  }
  return group
}

function sum<F>(files: readonly F[], of: (file: F) => number): number {
  return files.reduce((total, file) => total + of(file), 0)
}
