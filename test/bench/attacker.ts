/**
 * Calls a hook over HTTP again and again, with so many calls under way at once, until it is told to end. In a process of
 * its own, so that what it sends and reads does not hold up who measures. Arguments: address, token, calls at once.
 */
const [url = '', token = '', inFlight] = process.argv.slice(2)
let over = false
process.once('message', () => {
  over = true
})

await Promise.all(
  Array.from({ length: Number(inFlight) }, async () => {
    while (!over)
      await fetch(url, { headers: { authorization: `Bearer ${token}` } }).then(answer => answer.arrayBuffer())
  })
)
process.disconnect?.()
