/** Who may go on, in order of arrival. */
export interface Turns {
  /** Calls `go` when it is this one's turn: at once, or when another one of its group has left. */
  enter: (group: string, id: string, go: () => void) => void
  /** It has left, or gives up waiting. */
  leave: (group: string, id: string) => void
}

interface Group {
  inside: Set<string>
  waiting: Map<string, () => void>
  admitting: boolean
}

/** Lets at most so many of a group in at once as `most` says at that moment. */
export function createTurns(most: (group: string) => number): Turns {
  const groups = new Map<string, Group>()

  function admit(name: string, group: Group): void {
    // Who leaves as soon as it is let in does so within this loop.
    if (group.admitting) return
    group.admitting = true
    for (const [id, go] of group.waiting) {
      if (group.inside.size >= most(name)) break
      group.waiting.delete(id)
      group.inside.add(id)
      go()
    }
    group.admitting = false
    if (group.inside.size === 0) groups.delete(name)
  }

  return {
    enter(name, id, go) {
      const group = groups.get(name) ?? { inside: new Set(), waiting: new Map(), admitting: false }
      groups.set(name, group)
      group.waiting.set(id, go)
      admit(name, group)
    },
    leave(name, id) {
      const group = groups.get(name)
      if (!group) return
      group.inside.delete(id)
      group.waiting.delete(id)
      admit(name, group)
    }
  }
}
