import type { TestProject } from 'vitest/node'
import { startMariadb } from './mariadb.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the test run's MySQL server lets an account with every right in; null: there is none. */
    mysqlUrl: string | null
  }
}

/** Starts one MySQL server for the whole test run. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const server = await startMariadb()
  project.provide('mysqlUrl', server?.adminUrl ?? null)
  return server?.stop
}
