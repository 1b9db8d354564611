import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Native addons (better-sqlite3, isolated-vm) want a process each, not a thread.
    pool: 'forks',
    maxWorkers: 2,
    // Tests wait for states. A machine that is busy with others takes several times as long as a quiet one.
    testTimeout: 120_000,
    expect: { poll: { timeout: 20_000 } },
    hookTimeout: 120_000
  }
})
