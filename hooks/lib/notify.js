/**
 * Notices to a group by its robot: DingTalk, WeCom or Feishu.
 *
 * Env: ROBOT_VENDOR (default dingtalk; or wecom, feishu); each robot's own keys stand at the top of its file:
 *      /lib/dingtalk, /lib/wecom, /lib/feishu.
 *
 *   const notify = require('/lib/notify')
 *   return notify.sendText(['【库存预警】', '绿茶 250克 只剩 3 件'], { mobiles: ['13800007001'] })
 *
 * Robots say inside HTTP 200 whether they took the message. A notice may arrive twice when a run was broken off just after
 * it was sent: no robot offers a way to tell.
 *
 * Robots take 20 messages a minute (Feishu 100) and DingTalk's mutes itself for ten minutes beyond that. config/targets.json
 * holds notices back before: what finds no room waits in a table (sql/shop/notify.sql) and goes out as one digest, by
 * /custom/notify/digest, as soon as there is room. Without the table each notice waits by itself.
 */

const settings = require('/lib/settings')

/** A result that ends the hook as succeeded when the chosen robot has no address; else null. */
exports.skipUnlessReady = () => {
  const robot = chosen()
  return robot ? settings.skipUnless(robot.webhook) : null
}

/**
 * Sends lines of text to the group, and gives the hook's result: succeeded; to be retried (busy, unknown error; not
 * before a minute has passed when the robot was too fast); or failed for good (no such robot, wrong keyword or
 * signature). Throws HttpError and network errors, which are retried too. What is longer than the robot takes is cut.
 *
 * `mobiles`: phone numbers of members of the group who are mentioned (@); `all`: everybody is.
 */
exports.sendText = (lines, { mobiles = [], all = false } = {}) =>
  send(robot => robot.text([lines].flat().join('\n'), { mobiles: mobiles.map(String), all }, cut), {
    message: [lines].flat().join('\n'),
    mobiles: mobiles.map(String)
  })

/** The same in Markdown. The title is what notifications and the heading show. */
exports.sendMarkdown = (title, text, { mobiles = [], all = false } = {}) =>
  send(robot => robot.markdown(title, text, { mobiles: mobiles.map(String), all }, cut), {
    message: `${title}\n${text}`,
    mobiles: mobiles.map(String)
  })

/**
 * Sends the messages that wait for the robot, the oldest first, as many as fit into one. What does not fit waits for a
 * further digest.
 */
exports.sendDigest = name => {
  const robot = chosen()
  if (!robot || robot.name !== name) return { success: true, skipped: `${name} is not the chosen robot any more` }
  const waiting = db.select(
    'SELECT id, message, mobiles FROM notify_waiting WHERE robot = ? ORDER BY id LIMIT 500 FOR UPDATE',
    name
  )
  const batch = fitting(waiting, robot.limit - 500)
  if (batch.length === 0) return { success: true, sent: 0 }
  const mobiles = [...new Set(batch.flatMap(row => JSON.parse(row.mobiles)))]
  const text = [`【合并通知】${batch.length} 条`, ...batch.map(row => row.message)].join('\n\n')
  const body = robot.text(text, { mobiles, all: false }, cut)
  const result = resultOf(robot, post(robot, robot.address(), body, 'queue'))
  if (!result.success) return result
  for (const { id } of batch) db.delete('DELETE FROM notify_waiting WHERE id = ?', id)
  if (batch.length < waiting.length) emit('NOTIFY_DIGEST', name)
  return { success: true, sent: batch.length }
}

// At most as many as a run may delete one by one, and as fit into a message.
const fitting = (waiting, bytes) => {
  let size = 0
  const batch = waiting.slice(0, 80).filter(({ message }) => {
    size += message.length * 3 + 2
    return size <= bytes
  })
  return batch.length > 0 ? batch : waiting.slice(0, 1)
}

/** Text typed by a buyer, made fit for a line of a notice: no line breaks, at most 200 characters. */
exports.oneLine = (text, whenEmpty) => {
  const line = String(text ?? '')
    .replace(/\s+/g, ' ')
    .trim()
  return line.length > 200 ? `${line.slice(0, 199)}…` : line || whenEmpty
}

const chosen = () => {
  switch (env.get('ROBOT_VENDOR') || 'dingtalk') {
    case 'dingtalk':
      return require('/lib/dingtalk')
    case 'wecom':
      return require('/lib/wecom')
    case 'feishu':
      return require('/lib/feishu')
    default:
      return null
  }
}

const send = (write, notice) => {
  const robot = chosen()
  if (!robot) {
    const message = `ROBOT_VENDOR is "${env.get('ROBOT_VENDOR')}": use dingtalk, wecom or feishu`
    return { success: false, retry: false, message }
  }
  const answer = post(robot, robot.address(), write(robot))
  const result = answer === FULL ? wait(robot, notice) : resultOf(robot, answer)
  if (!result.success) log.error('{}', result.message)
  return result
}

// A refusal with a status of 400 and more is read like any other, if the robot gives its code with it.
const post = (robot, url, body, whenFull) => {
  try {
    return http.post(url, { body, whenFull })
  } catch (caught) {
    const error = /** @type {any} */ (caught)
    if (error.code === 'HTTP_FULL') return FULL
    if (robot.read(error.body).code !== undefined) return error.body
    if (error.status === 429) return TOO_FAST
    throw error
  }
}

const TOO_FAST = 'HTTP 429'
const FULL = 'no room now'

const wait = (robot, { message, mobiles }) => {
  try {
    db.insert(
      'INSERT INTO notify_waiting (robot, message, mobiles, created_at) VALUES (?, ?, ?, NOW())',
      robot.name,
      message,
      JSON.stringify(mobiles)
    )
  } catch (caught) {
    log.warn('{} has no room, and notices cannot be merged: {}', robot.name, /** @type {any} */ (caught).message)
    return { success: false, retryAfterMs: 60000, message: `${robot.name} takes no more messages now` }
  }
  emit('NOTIFY_DIGEST', robot.name)
  return { success: true, merged: true }
}

// Codes first, then the text: servers of different ages use other codes for the same refusal.
const resultOf = (robot, answer) => {
  const { code, text = JSON.stringify(answer) } = robot.read(answer)
  if (Number(code ?? NaN) === 0) return { success: true }
  const message = `${robot.name} ${code ?? 'gave no errcode'}: ${text}`
  const isLater = robot.tooFast.codes.includes(Number(code)) || robot.tooFast.text.test(text) || answer === TOO_FAST
  if (isLater) return { success: false, retryAfterMs: robot.restMs ?? 60000, message }
  if (robot.final.codes.includes(Number(code)) || robot.final.text.test(text))
    return { success: false, retry: false, message }
  return { success: false, message }
}

// Robots count bytes of UTF-8. What is too long loses its end, never half a character.
const cut = (text, bytes) => {
  let size = 0
  let kept = ''
  for (const character of text) {
    size += utf8Size(character.codePointAt(0) ?? 0)
    if (size <= bytes - 3) kept += character
  }
  return size <= bytes ? text : `${kept}…`
}

const utf8Size = point => (point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4)
