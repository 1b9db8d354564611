import type { TestProject } from 'vitest/node'
import { startMariadb } from './mariadb.ts'
import { installServers } from './packages.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the test run's MySQL server lets an account with every right in; null: there is none. */
    mysqlUrl: string | null
  }
}

/** Has the servers that tests need installed, and starts one MySQL server for the whole test run. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  installServers()
  const server = await startMariadb()
  project.provide('mysqlUrl', server?.adminUrl ?? null)
  return server?.stop
}
