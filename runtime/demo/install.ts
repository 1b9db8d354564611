import { readFile } from 'node:fs/promises'
import { type Database, insertRows, statementsOf } from '../store/database.ts'
import type { EnvStore } from '../store/env.ts'
import { demoShop } from './shop.ts'

const SQL = new URL('../../sql/shop/', import.meta.url)
/** The shop itself, and what the partners' hooks keep in it. */
const FILES = ['demo.sql', 'qimen.sql', 'haidian.sql', 'purchase.sql', 'sms.sql', 'notify.sql', 'outbox.sql']

/** Creates and fills the demo shop where there is none yet. Answers whether it did. */
export async function installDemoShop(shop: Database): Promise<boolean> {
  if (await shop.schema.hasTable('eb_store_order')) return false
  for (const file of FILES)
    for (const statement of statementsOf(await readFile(new URL(file, SQL), 'utf8'))) await shop.raw(statement)
  await shop.transaction(async trx => {
    for (const { table, rows } of demoShop()) await insertRows(trx, table, rows)
  })
  return true
}

/** Where the stand-ins of this node are, and what they want to be shown. */
export interface DemoPartners {
  /** `http://127.0.0.1:8080/demo` */
  url: string
  token: string
}

/** Points the built-in hooks at the stand-ins, unless somebody has pointed them elsewhere. */
export async function installDemoEnv(env: EnvStore, { url, token }: DemoPartners): Promise<void> {
  const targets = [
    { address: 'ERP_API_URL', value: `${url}/erp`, key: 'ERP_API_KEY' },
    { address: 'SMS_API_URL', value: `${url}/sms`, key: 'SMS_API_KEY' },
    { address: 'DINGTALK_WEBHOOK', value: `${url}/dingtalk/robot/send?access_token=demo`, key: null }
  ]
  for (const { address, value, key } of targets) {
    const there = await env.get(null, address)
    if (there && !there.value?.includes('/demo/')) continue
    await env.put(null, address, { value, secret: false })
    if (key) await env.put(null, key, { value: token, secret: true })
  }
}
