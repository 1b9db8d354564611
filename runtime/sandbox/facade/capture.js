// What the facade relies on: the language's own functions, taken before a script can change them, with methods as
// functions of their receiver. Once a script runs, no code of ours may call a method, iterate or spread, assign to a
// member that a prototype could have a setter for, give JSON an array or object of our own that has a prototype, or read
// what may be inherited.
export function capture() {
  const { bind, call } = Function.prototype
  /** `method(f)(receiver, ...args)` */
  const method = bind.bind(call)

  const { apply, ownKeys } = Reflect
  const { stringify, parse } = JSON
  const { isArray } = Array
  const { keys, hasOwn, freeze, defineProperty } = Object
  const { isError, captureStackTrace } = Error
  const { isFinite: isFiniteNumber, isInteger, isSafeInteger } = Number
  const { trunc } = Math
  const hasInstance = method(Function.prototype[Symbol.hasInstance])
  const RealmPromise = Promise

  const text = {
    of: String,
    slice: method(String.prototype.slice),
    indexOf: method(String.prototype.indexOf),
    lower: method(String.prototype.toLowerCase),
    upper: method(String.prototype.toUpperCase)
  }
  const exec = method(RegExp.prototype.exec)
  const { getTime, getFullYear, getMonth, getDate, getHours, getMinutes, getSeconds } = Date.prototype
  const date = {
    time: method(getTime),
    fields: [getFullYear, getMonth, getDate, getHours, getMinutes, getSeconds].map(get => method(get))
  }

  /** Sets an own member, whatever the prototypes say. */
  const define = (object, name, value, enumerable = false) =>
    defineProperty(object, name, { __proto__: null, value, writable: true, configurable: true, enumerable })

  /** An object's own member; undefined when it is none of its own. */
  const own = (object, name) => (hasOwn(object, name) ? object[name] : undefined)

  /** A copy of an object's own members of these names, each read once. What is no object has none. */
  const pick = (object, names) => {
    const picked = { __proto__: null }
    if (typeof object !== 'object' || object === null) return picked
    for (let i = 0; i < names.length; i++) picked[names[i]] = own(object, names[i])
    return picked
  }

  /** A value as JSON text, which knows no `undefined`. Big integers cross as text. */
  const toJson = value => stringify(value, carry) ?? 'null'
  const carry = (_key, value) => (typeof value === 'bigint' ? text.of(value) : value)

  return {
    ...{ method, apply, ownKeys, stringify, parse, toJson, isArray, keys, hasOwn, freeze, define, own, pick },
    ...{ isError, captureStackTrace, isFiniteNumber, isInteger, isSafeInteger, trunc, text, date },
    ...{
      toNumber: Number,
      encodePart: encodeURIComponent,
      RealmFunction: Function,
      AsyncFunction: (async () => {}).constructor
    },
    matches: (pattern, subject) => exec(pattern, subject) !== null,
    chain: method(Promise.prototype.then),
    isPromise: value => hasInstance(RealmPromise, value)
  }
}
