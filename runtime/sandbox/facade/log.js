// `log`: lines are made, measured and cut inside the realm, before anything is copied out of it.
export function createLog(captured, emitLog, { logLines, logBytes }) {
  const { toJson, freeze, isError, text } = captured
  const { slice, indexOf } = text

  /** Characters of one line. */
  const MAX_LINE = 8192
  const cut = (line, most) =>
    line.length > most ? `${slice(line, 0, most)}… (${line.length - most} more characters)` : line

  /** Any value as text; whatever it does when it is looked at, this returns. */
  function show(value) {
    try {
      if (isError(value)) return text.of(value.stack ?? value)
      if (typeof value === 'object' && value !== null) return toJson(value)
      return typeof value === 'function' ? '[function]' : text.of(value)
    } catch {
      return '[unserialisable]'
    }
  }

  /** SLF4J's rules: `{}` takes the next argument, `\{}` is itself, a last Error prints its stack, surplus is ignored. */
  function format(pattern, args) {
    const line = show(pattern)
    const thrown = args.length > 0 && isError(args[args.length - 1])
    const count = thrown ? args.length - 1 : args.length
    let done = ''
    let from = 0
    let used = 0
    for (let at = indexOf(line, '{}'); at >= 0 && used < count; at = indexOf(line, '{}', from)) {
      const escaped = at > 0 && line[at - 1] === '\\'
      done += escaped ? `${slice(line, from, at - 1)}{}` : slice(line, from, at) + show(args[used++])
      from = at + 2
    }
    return `${done}${slice(line, from)}${thrown ? `\n${show(args[args.length - 1])}` : ''}`
  }

  let lines = 0
  let characters = 0
  let missing = 0
  const writer = level =>
    freeze((pattern, ...args) => {
      if (lines >= logLines || characters >= logBytes) {
        missing++
        return
      }
      // Counted first: a getter among the arguments may log as well.
      lines++
      const line = cut(format(pattern, args), MAX_LINE)
      characters += line.length
      emitLog(level, line)
    })

  const log = freeze({ debug: writer('debug'), info: writer('info'), warn: writer('warn'), error: writer('error') })
  return { log, show, cut, missing: () => missing }
}
