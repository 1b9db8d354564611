const { FUZZ_RUNS, FUZZ_SEED } = process.env
/** Fewer would not try every route. */
const LEAST = 1_000
const requests = Math.max(LEAST, Number(FUZZ_RUNS ?? 2_000))

/**
 * How long the fuzz goes on: a few thousand requests with a seed that stays, or what `npm run fuzz -- --runs N --seed S`
 * says. What fails is printed with its seed.
 */
export const runs = {
  /** Requests for each engine. */
  requests,
  /** Spoiled requests over bare sockets. */
  garbled: Math.ceil(requests / 4),
  seed: Number(FUZZ_SEED ?? 20_260_101),
  /** For one engine; a machine may be slow, and what hangs is found by each request's own limit. */
  timeoutMs: FUZZ_RUNS === undefined ? 300_000 : 24 * 3_600_000
}
