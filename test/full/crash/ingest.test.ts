import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Daemon } from '../../support/daemon.ts'
import { runIngestKills } from '../../support/ingest-kills.ts'

test('killed many times while programs send rows', { timeout: 400_000 }, () => runIngestKills({ kills: 10, between: 80 }))

test(
  'more rows than memory can take: whoever is told to come again comes again, and each row is there once',
  { timeout: 300_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-overload-'))
    const daemon = await Daemon.spawn({ folder, config: { warehouse: './lake', memory: '16MB' } })
    const [senders, requests, rows] = [8, 12, 2000]
    try {
      await daemon.ready()
      const schema = [
        { name: 'id', data_type: 'int64', nullable: false },
        { name: 'text', data_type: 'string' },
      ]
      const made = await daemon.post('/tables/t', { database: 'app', table: 't', schema, table_config: { key: ['id'] } })
      assert.equal(made.status, 200, made.text)
      const text = 'x'.repeat(300)
      const send = async (sender: number): Promise<void> => {
        for (let sent = 0; sent < requests;) {
          const from = (sender * requests + sent) * rows
          const { status, text: answer } = await daemon.post(
            '/ingest/t',
            Array.from({ length: rows }, (_, i) => ({ id: from + i, text })),
          )
          if (status === 200) sent++
          else {
            assert.equal(status, 429, answer)
            await new Promise((resolve) => setTimeout(resolve, 20))
          }
        }
      }
      await Promise.all(Array.from({ length: senders }, (_, sender) => send(sender)))
      await daemon.commit('app', 't')
      const all = String(senders * requests * rows)
      const counted = await daemon.query('select count(*), count(distinct id), sum(length(text)) from app.t')
      assert.deepEqual(counted.rows, [[all, all, String(Number(all) * text.length)]])
      assert.equal(await daemon.terminate(), 0, daemon.log)
    } finally {
      await daemon.kill()
      await rm(folder, { recursive: true, force: true })
    }
  },
)
