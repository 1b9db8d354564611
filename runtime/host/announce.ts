import { RuntimeError } from '../errors.ts'
import type { Announcement, Json, MerId } from '../model.ts'

/** What a run may announce: enough for any honest hook, too little to flood anybody with. */
const MAX_ANNOUNCEMENTS = 100
const MAX_BYTES = 1_000_000
/** Hooks that raise events for hooks that raise events … end here. */
const MAX_DEPTH = 8

export interface AnnounceNeeds {
  executionId: string
  /** A merchant's hook raises events of its own merchant only. */
  merId: MerId | null
  /** Of the event that the hook runs for. */
  depth: number
}

/** Options of `emit`, as a script gives them. */
interface EmitOptions {
  id?: unknown
  key?: unknown
  merId?: unknown
  data?: Json
}

/**
 * `emit` and `mq.publish` for one run: collects what is to be told after the commit. Ids count from the execution's own,
 * so that a repeated run announces the same things, and receivers know them again. Throws ARGUMENT_INVALID,
 * HOOK_OUTPUT_LIMIT.
 */
export function createAnnouncer({ executionId, merId, depth }: AnnounceNeeds) {
  const announcements: Announcement[] = []
  let bytes = 0

  function add(announcement: Announcement): { id: string } {
    bytes += JSON.stringify(announcement).length
    if (announcements.length === MAX_ANNOUNCEMENTS || bytes > MAX_BYTES) {
      const limits = `${MAX_ANNOUNCEMENTS} events and messages, ${MAX_BYTES} bytes in all`
      throw new RuntimeError('HOOK_OUTPUT_LIMIT', `The run announces more than its limit of ${limits}.`)
    }
    announcements.push(announcement)
    return { id: announcement.id }
  }
  const nextId = () => `${executionId}:${announcements.length + 1}`

  return {
    announcements,
    emit(eventKey: unknown, payload: Json, options: EmitOptions = {}): { id: string } {
      if (depth >= MAX_DEPTH)
        throw new RuntimeError(
          'ARGUMENT_INVALID',
          `emit: hooks have raised events for hooks ${MAX_DEPTH} times in a row.`
        )
      const id = options.id === undefined ? nextId() : text('emit: id', options.id, 128)
      const owner = merId ?? (options.merId as MerId | undefined)
      return add({
        ...{ kind: 'event', id, eventKey: text('emit: the event key', eventKey, 100), payload },
        ...(options.key === undefined ? {} : { key: text('emit: key', options.key, 191) }),
        ...(owner === undefined || owner === null ? {} : { merId: owner }),
        ...(options.data === undefined ? {} : { data: options.data })
      })
    },
    publish(routingKey: unknown, body: Json, options: { exchange?: unknown; headers?: unknown } = {}): { id: string } {
      // A merchant's message could pass for the shop's own word about another merchant's order.
      if (merId !== null) throw new RuntimeError('ARGUMENT_INVALID', "mq.publish is for the platform's hooks only.")
      const { exchange = 'amq.topic', headers = {} } = options
      if (typeof headers !== 'object' || headers === null)
        throw new RuntimeError('ARGUMENT_INVALID', 'mq.publish: headers must be an object.')
      return add({
        ...{ kind: 'message', id: nextId(), exchange: text('mq.publish: exchange', exchange, 127) },
        ...{ routingKey: text('mq.publish: the routing key', routingKey, 255), body },
        headers: headers as Record<string, Json>
      })
    }
  }
}

function text(what: string, value: unknown, longest: number): string {
  const given = typeof value === 'number' ? String(value) : value
  if (typeof given === 'string' && given !== '' && Buffer.byteLength(given) <= longest) return given
  throw new RuntimeError('ARGUMENT_INVALID', `${what} must be a text of 1 to ${longest} bytes.`)
}
