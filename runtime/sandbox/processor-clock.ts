const PERIOD_MS = 20

/** Who uses the processor: how long it has executed so far, in milliseconds, and how long it may. */
export interface Metered {
  executedMs: () => number
  limitMs: number
  /** Told once, when it has used more than it may. */
  onOverrun: () => void
}

export interface Meter {
  /** Answers the processor time used, in milliseconds. */
  stop: () => number
}

interface Account extends Metered {
  seenMs: number
  usedMs: number
}

/**
 * Measures the processor time of those that execute side by side in this process. An isolate can only tell how long it
 * has been executing; when more of them execute than there are cores, it has had the processor for a part of that. So
 * each is charged its share of what the whole process has used. Looks every 20 ms while anybody is metered.
 */
export function createProcessorClock(processMs = processorMs): (metered: Metered) => Meter {
  const accounts = new Set<Account>()
  let timer: NodeJS.Timeout | undefined
  let seenMs = 0

  function look(): void {
    const spent = processMs() - seenMs
    seenMs += spent
    const executed = [...accounts].map(account => Math.max(0, account.executedMs() - account.seenMs))
    const total = executed.reduce((sum, ms) => sum + ms, 0)
    const share = total > spent ? spent / total : 1
    for (const [i, account] of [...accounts].entries()) charge(account, executed[i] ?? 0, share)
  }

  function charge(account: Account, executedMs: number, share: number): void {
    const before = account.usedMs
    account.seenMs += executedMs
    account.usedMs += executedMs * share
    if (before <= account.limitMs && account.usedMs > account.limitMs) account.onOverrun()
  }

  return metered => {
    if (accounts.size === 0) {
      seenMs = processMs()
      timer = setInterval(look, PERIOD_MS)
    }
    const account = { ...metered, seenMs: 0, usedMs: 0 }
    accounts.add(account)
    return {
      stop() {
        account.limitMs = Number.POSITIVE_INFINITY
        look()
        accounts.delete(account)
        if (accounts.size === 0) clearInterval(timer)
        return account.usedMs
      }
    }
  }
}

function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
