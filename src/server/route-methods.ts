/** Which methods there are for a path: the router itself knows a path only together with a method. */
export class RouteMethods {
  readonly #routes: { readonly method: string; readonly parts: readonly string[] }[] = []

  /** @param url of a route, with parameters as `:name` */
  add(method: string, url: string): void {
    this.#routes.push({ method, parts: url.split('/') })
  }

  /** Methods of the routes that a path is one of; none where it is of no route. */
  of(path: string): string[] {
    const given = path.split('/')
    const fits = (parts: readonly string[]): boolean =>
      parts.length === given.length && parts.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]))
    return [...new Set(this.#routes.filter(({ parts }) => fits(parts)).map(({ method }) => method))]
  }
}
