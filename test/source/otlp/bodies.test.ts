import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Server } from 'node:net'
import { suite, test } from 'node:test'
import { Access } from '../../../src/access/index.ts'
import { Allowance } from '../../../src/base/index.ts'
import { listen } from '../../../src/source/otlp/endpoints.ts'
import type { EndpointParts } from '../../../src/source/otlp/endpoint-parts.ts'
import { Exporters } from '../../../src/source/otlp/exporters.ts'
import { createGrpcEndpoint } from '../../../src/source/otlp/grpc-endpoint.ts'
import { createHttpEndpoint } from '../../../src/source/otlp/http-endpoint.ts'
import type { Receiver } from '../../../src/source/otlp/receiver.ts'
import { Traffic } from '../../../src/source/otlp/traffic.ts'
import { GrpcClient } from '../../support/otlp/grpc-client.ts'
import { RawHttp, statusOf } from '../../support/raw-http.ts'

const all = 100_000
const retryInfo = 'google.rpc.RetryInfo'
const local = { host: '127.0.0.1', port: 0 }

/** Takes everything. */
const receiver: Receiver = { receive: async () => ({ position: '1', kept: 1, refused: 0, reason: null }) }

function head(length: number): string {
  return `POST /v1/logs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: ${length}\r\n\r\n`
}

async function close(server: Server): Promise<void> {
  server.close()
  await once(server, 'close')
}

suite('OTLP, room for bodies', { timeout: 180_000 }, () => {
  test('what has come is counted, over HTTP and gRPC together; what was announced keeps nobody out', async () => {
    const room = new Allowance(all)
    const failures: unknown[] = []
    const parts: EndpointParts = {
      receiver,
      exporters: new Exporters(new Access([]), 'telemetry'),
      traffic: new Traffic('telemetry', () => undefined),
      room,
      failed: (error) => void failures.push(error),
    }
    const http = createHttpEndpoint(parts, null)
    const grpc = createGrpcEndpoint(parts, null)
    const url = `http://${await listen(http, local)}`
    const address = await listen(grpc.server, local)
    const clients: RawHttp[] = []
    const open = async (): Promise<RawHttp> => {
      const client = await RawHttp.open(url)
      clients.push(client)
      return client
    }
    const ask = async (): Promise<string> => {
      const client = await open()
      client.write(`${head(2)}xx`)
      return client.answer()
    }
    const message = Buffer.alloc(100)
    const client = new GrpcClient(address)
    try {
      const announcing = await Promise.all(Array.from({ length: 5 }, open))
      for (const one of announcing) one.write(head(all))
      assert.equal(statusOf(await ask()), 200)
      assert.equal((await client.call('logs', message)).status, 0)

      announcing[0].write(Buffer.alloc(all - 1))
      let answer = await ask()
      while (statusOf(answer) === 200) answer = await ask()
      assert.equal(statusOf(answer), 429)
      assert.match(answer, /\r\nretry-after: 1\r\n/i)
      assert(answer.includes(retryInfo))
      const call = await client.call('logs', message)
      assert.equal(call.status, 8)
      assert(call.details.includes(retryInfo))

      // The others find no room when they go on; their connections do.
      announcing[1].write(Buffer.alloc(all))
      assert.equal(statusOf(await announcing[1].answer()), 429)
      announcing[0].socket.destroy()
      do answer = await ask()
      while (statusOf(answer) === 429)
      assert.equal(statusOf(answer), 200)
      announcing[1].write(`${head(2)}xx`)
      assert.equal(statusOf(await announcing[1].answer()), 200)
      assert.equal((await client.call('logs', message)).status, 0)
    } finally {
      client[Symbol.dispose]()
      for (const one of clients) one[Symbol.dispose]()
      http.closeAllConnections()
      grpc.finish()
      await Promise.all([close(http), close(grpc.server)])
    }
    assert.deepEqual(failures, [])
  })
})
