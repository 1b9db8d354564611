import type { Announcement, HookEvent } from '../model.ts'
import type { Accept } from './accept.ts'
import { outgoingOf, type Publisher } from './publisher.ts'

export interface AnnounceNeeds {
  accept: Accept
  publisher: Pick<Publisher, 'send'>
}

/**
 * Tells what runs wanted told: events go through the one door, which knows those that it has had before; messages go to
 * the broker, at least once each. Throws STORE_UNAVAILABLE, BROKER_UNAVAILABLE, ARGUMENT_INVALID.
 */
export const createAnnounce =
  ({ accept, publisher }: AnnounceNeeds) =>
  async (announcements: Announcement[], cause: HookEvent): Promise<void> => {
    const raised = announcements.filter(announcement => announcement.kind === 'event')
    await accept(
      raised.map(({ kind: _kind, ...event }) => ({ ...event, depth: cause.depth + 1 })),
      'hook'
    )
    const messages = announcements.filter(announcement => announcement.kind === 'message')
    await Promise.all(messages.map(message => publisher.send(outgoingOf(message))))
  }
