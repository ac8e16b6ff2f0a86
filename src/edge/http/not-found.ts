/**
 * Requests that no route takes: 404, or 405 with Allow where the path is known, and OPTIONS.
 */
import type { FastifyInstance } from "fastify";
import { QueueError } from "../../base/errors.ts";
import { type HttpContext, sendError } from "./context.ts";

/** Call before any route is added: it takes note of all of them. */
export function handleUnknown(app: FastifyInstance, context: HttpContext): void {
  const known: { readonly path: RegExp; readonly methods: Set<string> }[] = [];
  const bySource = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ url, method }) => {
    const source = `^${url.replace(/[.]/gu, "\\.").replace(/:[a-z]+/gu, "[^/]+")}$`;
    let methods = bySource.get(source);
    if (methods === undefined) {
      methods = new Set(["OPTIONS"]);
      bySource.set(source, methods);
      known.push({ path: new RegExp(source, "u"), methods });
    }
    for (const one of [method].flat()) methods.add(one);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.replace(/\?.*$/su, "");
    const methods = new Set(known.flatMap((one) => (one.path.test(path) ? [...one.methods] : [])));
    const allow = [...methods].sort().join(", ");
    if (allow === "") {
      sendError(context, { request, reply }, new QueueError("not_found", "no such route"));
    } else if (request.method === "OPTIONS") {
      reply.code(204).header("allow", allow).send();
    } else {
      const error = new QueueError("method_not_allowed", "the path does not take this method");
      sendError(context, { request, reply, allow }, error);
    }
  });
}
