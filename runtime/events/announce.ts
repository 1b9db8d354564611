import type { Announcement, HookEvent } from '../model.ts'
import type { Accept } from './accept.ts'

/** Tells what runs wanted told: events go through the one door, which knows those that it has had before. */
export const createAnnounce =
  ({ accept }: { accept: Accept }) =>
  async (announcements: Announcement[], cause: HookEvent): Promise<void> => {
    const raised = announcements.filter(announcement => announcement.kind === 'event')
    await accept(
      raised.map(({ kind: _kind, ...event }) => ({ ...event, depth: cause.depth + 1 })),
      'hook'
    )
  }
