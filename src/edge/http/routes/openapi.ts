/** GET /openapi.json: the description of the API, of all its routes. */
import type { FastifyInstance } from "fastify";
import { createOpenApi } from "../../../api/openapi.ts";
import { routeDescriptions } from "../../../api/openapi-routes.ts";
import { assert } from "../../../base/assert.ts";
import { sendJson } from "../context.ts";

/** Call before any other route is added: it sees to it that all of them are described. */
export function addOpenApiRoute(app: FastifyInstance, version: string): void {
  const text = createOpenApi(version);
  const described = new Set(
    routeDescriptions.flatMap(({ method, path, at }) => {
      const url = path.replace(/\{(\w+)\}/gu, ":$1");
      const prefixes = { v1: ["/v1", "/v1/codeq"], root: [""], both: ["", "/v1", "/v1/codeq"] };
      return prefixes[at].map((prefix) => `${method.toUpperCase()} ${prefix}${url}`);
    }),
  );
  const made = new Set<string>();
  app.addHook("onRoute", ({ method, url }) => {
    for (const one of [method].flat()) if (one !== "HEAD") made.add(`${one} ${url}`);
  });
  app.addHook("onReady", (done) => {
    for (const route of made) assert(described.has(route), "a route is described", route);
    assert(made.size === described.size, "described routes are there", described.size, made.size);
    done();
  });
  app.get("/openapi.json", (_request, reply) => sendJson(reply, 200, text));
}
