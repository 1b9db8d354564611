import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** So many characters of text pass between two sweeps; one takes a few milliseconds. */
const PERIOD = 16 * 1024 * 1024

/**
 * Frees text that has passed through this process, once enough of it has: it does not lie in Node's own heap, which
 * so is collected too late, and what scripts are long done with would be taken for memory that they hold.
 * The function is told the length of each text.
 */
export function createSweeper(): (length: number) => void {
  // For a moment only: scripts' realms must not have it.
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  setFlagsFromString('--no-expose-gc')
  let passed = 0
  return length => {
    passed += length
    if (passed < PERIOD) return
    passed = 0
    collect()
  }
}
