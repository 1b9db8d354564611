import type { IdPairStore } from '../store/id-pairs.ts'
import type { IncomingEvent } from './accept.ts'
import type { Registry } from './registry.ts'
import { keyMatches } from './router.ts'
import { eventOf, type Message, rawKey, type TopicMap } from './topic-map.ts'

/** A message that is told from all others by its identity: what the ids of its events begin with. */
export interface KnownMessage extends Message {
  identity: string
}

/** What a message comes to. */
export interface Meaning {
  events: IncomingEvent[]
  /** Why it, or parts of it, became no event. */
  refusals: string[]
}

/**
 * Says what messages come to, in their order: what they tell of ids is remembered first, and used for all of them.
 * Throws STORE_UNAVAILABLE.
 */
export type Interpret = (messages: KnownMessage[]) => Promise<Meaning[]>

export interface InterpretNeeds {
  map: TopicMap
  pairs: IdPairStore
  registry: Registry
}

export function createInterpret({ map, pairs, registry }: InterpretNeeds): Interpret {
  return async messages => {
    const { hooks } = await registry.current()
    const wanted = hooks.filter(({ hook }) => hook.enabled).flatMap(({ hook }) => hook.events.filter(isRaw))
    const wants = (topic: string) => wanted.some(pattern => keyMatches(pattern, rawKey(topic)))
    const readings = messages.map(message => map.read(message, wants(message.topic)))

    await pairs.remember(readings.flatMap(reading => reading.pairs))
    const drafts = readings.flatMap(reading => reading.drafts)
    const frontId = await pairs.find(
      drafts.flatMap(({ lookup, payload }) =>
        lookup === undefined || payload === null ? [] : [{ kind: lookup, erpId: payload }]
      )
    )
    return messages.map(({ identity }, i) => ({
      events: readings[i]?.drafts.map(draft => eventOf(draft, identity, frontId)) ?? [],
      refusals: readings[i]?.refusals ?? []
    }))
  }
}

const isRaw = (pattern: string): boolean => pattern.startsWith(rawKey(''))
