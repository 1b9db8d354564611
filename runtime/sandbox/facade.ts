import { readFileSync } from 'node:fs'

const PARTS = ['capture', 'calls', 'db', 'http', 'log', 'globals', 'install']

/**
 * What is evaluated inside every realm before a script; its value is the function `install`. The parts are modules for
 * those who read them; a realm gets them as one closure, in strict mode, so that neither a call site nor `caller` hands
 * one of our functions to a script.
 */
export const readFacade = (): string => {
  const parts = PARTS.map(name => readFileSync(new URL(`./facade/${name}.js`, import.meta.url), 'utf8'))
  const functions = parts
    .join('\n')
    .replace(/^import .*\n/gm, '')
    .replace(/^export /gm, '')
  return `(() => {\n'use strict'\n${functions}\nreturn install\n})()`
}
