/** An address as it was registered: `/hooks/:id`, `/custom/*`. */
export interface KnownRoute {
  url: string
  methods: string[]
}

/** The methods that any route takes at this path; none: there is no such path. */
export const allowedMethods = (routes: KnownRoute[], path: string): string[] => [
  ...new Set(routes.filter(route => fits(route.url, path)).flatMap(route => route.methods))
]

function fits(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  if (wanted.at(-1) === '*') return wanted.slice(0, -1).every((part, i) => matches(part, given[i]))
  return wanted.length === given.length && wanted.every((part, i) => matches(part, given[i]))
}

const matches = (part: string, given: string | undefined): boolean =>
  part.startsWith(':') ? given !== undefined && given !== '' : part === given
