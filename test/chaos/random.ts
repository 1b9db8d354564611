import { createHash } from 'node:crypto'

/** Random numbers that a seed decides. */
export interface Random {
  /** From 0 to below 1. */
  next: () => number
  /** A whole number from `least` to `most`. */
  whole: (least: number, most: number) => number
  pick: <T>(from: readonly T[]) => T
}

/** Draws that follow from the seed alone, one after the other (mulberry32). */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const whole = (least: number, most: number) => least + Math.floor(next() * (most - least + 1))
  return { next, whole, pick: from => from[whole(0, from.length - 1)] as (typeof from)[number] }
}

/** From 0 to below 1, by seed and name: the same whenever it is asked for. */
export const drawFor = (seed: number, name: string): number =>
  createHash('sha1').update(`${seed} ${name}`).digest().readUInt32BE() / 2 ** 32
