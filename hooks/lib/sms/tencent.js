/**
 * SMS by Tencent Cloud: action SendSms, version 2021-01-11, signature TC3.
 *
 * Env: SMS_KEY_ID, SMS_KEY_SECRET (SecretId and SecretKey), SMS_APP_ID (SdkAppId), SMS_SIGN_NAME (签名内容),
 *      SMS_REGION (default ap-guangzhou), SMS_API_URL (default https://sms.tencentcloudapi.com),
 *      SMS_ORDER_<template>: the parameters' names in the order in which the template numbers them, {1}, {2} …;
 *      for example SMS_ORDER_449739 = orderNo,expressName,expressNo; empty for a template without parameters
 * `template` is the template's id. SessionContext carries the message's key, for looking it up in Tencent's console.
 */

const tc3 = require('/lib/sign/tc3')

const MINUTE = 60000
const HOUR = 3600000

// The first row that matches the answer's code decides.
/** @type {[RegExp, string, number?][]} */
const RULES = [
  [/^Ok$/i, 'sent'],
  [/^LimitExceeded\.PhoneNumberOneHourLimit$/, 'later', HOUR],
  [/^LimitExceeded\..*DailyLimit$/, 'later', 6 * HOUR],
  [/^(LimitExceeded|RequestLimitExceeded)/, 'later', MINUTE],
  [/^(InternalError|ServiceUnavailable)/, 'again'],
  [/^AuthFailure\.SignatureExpire$/, 'again'],
  [
    /^(FailedOperation|InvalidParameter|MissingParameter|UnauthorizedOperation|UnsupportedOperation|AuthFailure|UnknownParameter|InvalidAction|NoSuchVersion|UnsupportedRegion)/,
    'never'
  ]
]

exports.needs = ['SMS_KEY_ID', 'SMS_KEY_SECRET', 'SMS_APP_ID', 'SMS_SIGN_NAME']

/** `{ verdict: 'sent' | 'again' | 'later' | 'never', text, id?, restMs? }`; throws HttpError. */
exports.send = message => {
  const { values, fault } = inOrder(message)
  if (fault) return { verdict: 'never', text: fault }
  const answer = call(message, values)
  const code = String(answer.Code)
  const text = `Tencent ${code}: ${answer.Message ?? ''}`
  const [, verdict, restMs = 0] = RULES.find(([pattern]) => pattern.test(code)) ?? ['', 'again']
  return { verdict, text, id: answer.SerialNo, restMs }
}

const call = (message, values) => {
  const [, origin, host, folder] = /^(https?:\/\/([^/]+))(\/.*?)?\/*$/.exec(
    env.get('SMS_API_URL') || 'https://sms.tencentcloudapi.com'
  ) ?? ['', '', '', '']
  const path = `${folder ?? ''}/`
  const body = JSON.stringify({
    PhoneNumberSet: [international(message.phone)],
    SmsSdkAppId: env.get('SMS_APP_ID'),
    SignName: env.get('SMS_SIGN_NAME'),
    TemplateId: message.template,
    TemplateParamSet: values,
    SessionContext: message.key
  })
  const region = env.get('SMS_REGION') || 'ap-guangzhou'
  const request = { service: 'sms', host, path, body, action: 'SendSms', version: '2021-01-11', region }
  const key = { id: env.get('SMS_KEY_ID'), secret: env.get('SMS_KEY_SECRET') }
  const headers = tc3.headers(request, key, Math.floor(Date.now() / 1000))
  return coded(http.post(origin + path, { headers, body }))
}

// Success is said for each number; a refusal of the whole call in `Error`. Without either nobody knows what became of
// the message; an HttpError without a status says so.
const coded = answer => {
  const said = answer?.Response?.Error ?? answer?.Response?.SendStatusSet?.[0]
  if (said?.Code) return said
  throw Object.assign(new Error(`Tencent gave no code: ${String(JSON.stringify(answer)).slice(0, 200)}`), {
    name: 'HttpError'
  })
}

const inOrder = ({ template, params }) => {
  const order = env.get(`SMS_ORDER_${template}`)
  if (order === null) {
    const names = Object.keys(params ?? {}).join(',')
    return { fault: `set SMS_ORDER_${template} to the order of the template's parameters, for example ${names}` }
  }
  const names = order.split(',').flatMap(name => name.trim() || [])
  const unknown = names.find(name => params?.[name] === undefined)
  if (unknown) return { fault: `SMS_ORDER_${template} names ${unknown}, which this message does not have` }
  return { values: names.map(name => String(params[name])) }
}

// Tencent wants +86…; numbers of other countries must be written with their + already.
const international = phone => {
  if (phone.startsWith('+')) return phone
  if (phone.startsWith('00')) return `+${phone.slice(2)}`
  return /^86\d{11}$/.test(phone) ? `+${phone}` : `+86${phone}`
}
