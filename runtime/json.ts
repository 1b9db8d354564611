const QUOTE = 34
const ESCAPE = 92

/** Whether in a JSON text arrays and objects are nested in one another more than `levels` times; tells before it is parsed. */
export function isDeeper(json: string, levels: number): boolean {
  let depth = 0
  let quoted = false
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at)
    if (code === QUOTE) quoted = !quoted
    else if (quoted && code === ESCAPE) at++
    else if (!quoted) depth += step(code)
    if (depth > levels) return true
  }
  return false
}

/** Of `[` and `{`, of `]` and `}`, of anything else. */
const step = (code: number): number => (code === 91 || code === 123 ? 1 : code === 93 || code === 125 ? -1 : 0)
