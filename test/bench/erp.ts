/** The partner of the benchmarks: an ERP that answers after so many milliseconds (argument), in a process of its own. */
import { createServer } from 'node:http'

const delayMs = Number(process.argv[2] ?? 0)
let number = 0
const server = createServer((request, response) => {
  request.resume()
  request.on('end', () => {
    const body = JSON.stringify({ code: 0, data: { erpOrderId: `E${++number}` } })
    const answer = () => response.writeHead(200, { 'content-type': 'application/json' }).end(body)
    if (delayMs > 0) setTimeout(answer, delayMs)
    else answer()
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', 4096, () => process.send?.(server.address()))
