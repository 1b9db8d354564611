import { RuntimeError } from '../../errors.ts'
import type { Statement } from './statement.ts'

/** The server's own schemas. */
const SYSTEM = new Set(['information_schema', 'performance_schema', 'mysql', 'sys'])
/** The runtime's tables, and what SQLite keeps of itself and of its file. */
const OWN = /^(sandhook_|hook_effects$|sqlite_|pragma_)/

/** What spends the server's time, keeps something on a connection, or reaches beyond the shop's rows; by its effect. */
const FORBIDDEN: Record<string, string> = {
  ...reason('it would wait: a script needs no pause', 'SLEEP MASTER_POS_WAIT SOURCE_POS_WAIT MASTER_GTID_WAIT'),
  ...reason('it would wait', 'WAIT_FOR_EXECUTED_GTID_SET WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS'),
  ...reason('it keeps the server busy', 'BENCHMARK'),
  ...reason('it reads the files of the server', 'LOAD_FILE DES_ENCRYPT DES_DECRYPT'),
  ...reason('events of one order run one by one anyhow', 'GET_LOCK IS_FREE_LOCK IS_USED_LOCK'),
  ...reason('events of one order run one by one anyhow', 'RELEASE_LOCK RELEASE_ALL_LOCKS'),
  ...reason('it tells about the server', 'USER SESSION_USER SYSTEM_USER CURRENT_USER CURRENT_ROLE VERSION'),
  ...reason('it tells about the server', 'CONNECTION_ID SQLITE_VERSION SQLITE_SOURCE_ID SQLITE_COMPILEOPTION_GET'),
  ...reason('it outlives the run', 'NEXTVAL SETVAL LASTVAL'),
  ...reason('it shows values in errors', 'EXTRACTVALUE UPDATEXML')
}
const BARE = new Set(['CURRENT_USER', 'CURRENT_ROLE'])

function reason(why: string, names: string): Record<string, string> {
  return Object.fromEntries(names.split(' ').map(name => [name, why]))
}

const denied = (message: string): RuntimeError => new RuntimeError('DB_DENIED', message)

/**
 * What no script may touch, whoever owns it: the runtime's tables, the server's schemas and settings, variables,
 * functions that wait, lock, read files or tell about the server. Throws DB_DENIED. Looks at the words alone, wherever
 * they stand, so that it does not depend on how a statement is understood; an alias of such a name is refused as well.
 */
export function guard({ tokens }: Statement): void {
  tokens.forEach((token, index) => {
    if (token.kind === 'variable')
      throw denied(`The variable ${token.text} is not allowed: keep values in the script, it is one run`)
    if (token.kind !== 'word' && token.kind !== 'name') return
    const lower = token.value.toLowerCase()
    if (OWN.test(lower))
      throw denied(`The name ${token.value} belongs to the runtime: scripts use the shop’s tables only`)
    const next = tokens[index + 1]?.text
    const named = tokens[index - 1]?.text === '.'
    if (!named && next === '.' && SYSTEM.has(lower))
      throw denied(`The schema ${token.value} is the server’s own: scripts use the shop’s tables only`)
    const name = lower.toUpperCase()
    const used = next === '(' || (BARE.has(name) && token.kind === 'word')
    if (!named && used && Object.hasOwn(FORBIDDEN, name))
      throw denied(`The function ${name} is not allowed: ${FORBIDDEN[name]}`)
  })
}
