import { it } from 'node:test'
import { manyCommits } from '../support/load/many-commits.ts'

// The same with 5,000 commits: test/full/scale.
it('a table of 300,000 rows under random updates has few files and little metadata', async () => {
  await manyCommits({ rows: 300_000, updatesPerCommit: 100, commits: 80, lookEvery: 40 })
})
