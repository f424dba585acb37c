// A server that reads every body and answers 200, and nothing else: what HTTP itself costs on this machine.
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  request.on('data', () => undefined)
  request.on('end', () => response.writeHead(200, { 'content-length': 2, 'content-type': 'application/json' }).end('{}'))
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address && typeof address === 'object') process.send?.(address.port)
})
