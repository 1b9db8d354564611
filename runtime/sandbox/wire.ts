import type { Duplex } from 'node:stream'
import type { LogLevel } from '../model.ts'

/**
 * What main process and runner say to each other over one pipe. A frame is a line: a JSON header and, after a tab, a
 * document that is passed on as the text it is (JSON has neither raw tabs nor raw line ends), so that rows and
 * payloads are never encoded twice.
 */
export type ToRunner =
  /** Run a script. Document: RunInput. */
  | { t: 'run'; id: string; pool: string; name: string; script: string; limits: RunnerLimits }
  /** Answer of call `n`. Document: HostAnswer. */
  | { t: 'answer'; id: string; n: number }
  /** End this run now; its `done` follows if the isolate can still be ended. */
  | { t: 'stop'; id: string }
  /** Does this text compile? */
  | { t: 'check'; id: string; script: string }

export type FromRunner =
  | { t: 'ready' }
  /** The script calls its host. Document: the arguments, an array. */
  | { t: 'call'; id: string; n: number; method: string }
  | { t: 'log'; id: string; at: number; level: LogLevel; message: string }
  /** The run is over. Document: RunEnd. */
  | { t: 'done'; id: string; cpuMs: number; logsCut: number }
  /** The isolate of this run can't be ended any more; the process ends itself after this. */
  | { t: 'broken'; id: string; reason: string }
  /** Document: CheckResult. */
  | { t: 'checked'; id: string }

/** What a runner itself enforces. */
export interface RunnerLimits {
  cpuMs: number
  memoryMb: number
  logLines: number
  logBytes: number
  resultBytes: number
  httpSentBytes: number
}

/** How long the arguments of one call may be, in characters of JSON: a request's body with its escapes, or more. */
export const maxCallLength = ({ httpSentBytes }: RunnerLimits): number => Math.max(2_000_000, 2 * httpSentBytes)

/** What the script finds when it starts. */
export interface RunInput {
  payload: unknown
  env: Record<string, string>
  /** Further globals: `path`, `param`, `body`, `header` of a call over HTTP. */
  globals: Record<string, unknown>
}

/** A host call never rejects: it answers a value, or an error that the facade builds inside the realm. */
export type HostAnswer = { value: unknown } | { error: HostError }
export interface HostError {
  code: string
  name: string
  message: string
  /** Further members of the error object. */
  data?: Record<string, unknown> | undefined
}

/** How a script's run ended, as the runner saw it. */
export type RunEnd =
  | { end: 'returned'; value: unknown; response?: ScriptResponse }
  | { end: 'exited'; code: number; message: string; data: unknown }
  | { end: 'threw'; error: { name: string; message: string; code: string; stack: string } }
  | { end: 'syntax'; message: string; line: number; column: number }
  | { end: 'pending' | 'cpu' | 'memory' | 'stopped' }
  | { end: 'oversized'; bytes: number }

/** What the script said to its HTTP caller. */
export interface ScriptResponse {
  status: number
  headers: Record<string, string>
  /** Given by `response.json`; else the script's return value is the body. */
  body?: unknown
}

/** `compiled`: the text without types, when it is TypeScript. */
export type CheckResult =
  | { ok: true; compiled: string | null }
  | { ok: false; message: string; line: number; column: number }

/** A frame longer than this is no frame of ours: whoever sent it is broken. */
const MAX_FRAME = 64 * 1024 * 1024

/** One end of the pipe: `In` is what it receives, `Out` what it sends. */
export interface Channel<Out> {
  /** Queues a frame; everything queued within a tick leaves in one write. `document` is JSON text. */
  send: (header: Out, document?: string) => void
}

/**
 * Frames a stream both ways. `onFrame` gets each header with its document's text ('' when there is none);
 * `onBroken` is told once when the other side sends what is no frame, and nothing is read from then on.
 */
export function openChannel<In, Out>(
  stream: Duplex,
  onFrame: (header: In, document: string) => void,
  onBroken: (reason: string) => void
): Channel<Out> {
  let queued = ''
  let broken = false
  const breakOff = (reason: string) => {
    if (!broken) onBroken(reason)
    broken = true
  }
  const deliver = (line: string) => {
    const tab = line.indexOf('\t')
    let header: In
    try {
      header = JSON.parse(tab < 0 ? line : line.slice(0, tab))
    } catch {
      return breakOff('a frame that is not JSON')
    }
    onFrame(header, tab < 0 ? '' : line.slice(tab + 1))
  }
  const cut = createLineCutter(line => !broken && deliver(line), MAX_FRAME)
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => {
    if (!broken && !cut(chunk)) breakOff('a frame of more than 64 MB')
  })
  const flush = () => {
    const text = queued
    queued = ''
    if (!stream.destroyed) stream.write(text)
  }
  return {
    send(header, document) {
      if (queued === '') setImmediate(flush)
      queued += document === undefined ? `${JSON.stringify(header)}\n` : `${JSON.stringify(header)}\t${document}\n`
    }
  }
}

/** Cuts a stream of text into lines, each character looked at once; answers false when a line is longer than `most`. */
function createLineCutter(onLine: (line: string) => void, most: number): (chunk: string) => boolean {
  let parts: string[] = []
  let length = 0
  return chunk => {
    let from = 0
    for (let at = chunk.indexOf('\n'); at >= 0; at = chunk.indexOf('\n', from)) {
      parts.push(chunk.slice(from, at))
      const line = parts.join('')
      parts = []
      length = 0
      onLine(line)
      from = at + 1
    }
    parts.push(chunk.slice(from))
    length += chunk.length - from
    return length <= most
  }
}
