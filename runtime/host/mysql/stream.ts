import type { FieldPacket, PoolConnection, ResultSetHeader } from 'mysql2'
import { collectRows, stopped } from '../result.ts'
import type { Answer, ResultBounds, StatementOptions } from '../shop.ts'
import { mysqlFailure } from './failure.ts'
import { converters } from './values.ts'

interface Running extends StatementOptions {
  sql: string
  /** Ends the connection with the statement that runs on it. */
  end: () => void
}

/** Runs a statement and takes its rows as they come; ends the connection when the signal fires or a bound is passed. */
export function stream(connection: PoolConnection, { sql, bounds, signal, end }: Running): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(stopped(signal))
    const taken = takeIn(bounds)
    const settle = (act: () => void) => {
      signal.removeEventListener('abort', abort)
      connection.off('error', fail)
      act()
    }
    const fail = (error: unknown) => settle(() => reject(mysqlFailure(error)))
    const breakOff = (error: unknown) => {
      end()
      settle(() => reject(error))
    }
    const abort = () => breakOff(stopped(signal))
    signal.addEventListener('abort', abort, { once: true })
    // A connection that was lost says so itself: of its commands, it tells only those with a callback.
    connection.on('error', fail)

    const query = connection.query(sql)
    query.on('fields', taken.fields)
    query.on('result', result => {
      try {
        taken.result(result as unknown[] | ResultSetHeader)
      } catch (error) {
        query.removeAllListeners('result')
        breakOff(error)
      }
    })
    query.on('error', fail)
    query.on('end', () => settle(() => resolve(taken.answer())))
  })
}

/** What a statement comes to, put together from what mysql2 reports of it. */
function takeIn(bounds: ResultBounds) {
  let answer: Answer = { rows: [] }
  let add = (_cells: unknown[]): void => {}
  return {
    fields: (fields: FieldPacket[] | undefined) => {
      if (!fields) return
      const convert = converters(fields)
      const names = fields.map(({ name }) => name)
      const collector = collectRows(names, bounds)
      answer = { rows: collector.rows }
      add = cells => collector.add(cells.map((cell, index) => convert[index]?.(cell) ?? null))
    },
    result: (result: unknown[] | ResultSetHeader) => {
      if (Array.isArray(result)) add(result)
      else answer = { affected: result.affectedRows, insertId: result.insertId || null }
    },
    answer: () => answer
  }
}
