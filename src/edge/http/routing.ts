/**
 * How a route of the API is put up: token, role and scope first, then the body, then its schema,
 * then the handler. The same route stands under /v1 and /v1/codeq, each with its dialect.
 */
import type { FastifyInstance, FastifyRequest, FastifySchema } from "fastify";
import type Type from "typebox";
import type { BodyShape } from "../../api/json-reader.ts";
import { type BodySchemas, createBodySchemas, type Dialect } from "../../api/schema.ts";
import type { Scope } from "../../auth/authenticator.ts";
import type { Role } from "../../auth/token-entries.ts";
import { present } from "../../base/assert.ts";
import { QueueError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import type { Call, HttpContext } from "./context.ts";
import { bearerToken } from "./request-guard.ts";
import { TaskJson } from "./task-json.ts";
import { dropEmpty, refuseQuery } from "./validation.ts";

/** The routes of one dialect in the making. */
export interface RouteSet {
  readonly app: FastifyInstance;
  readonly context: HttpContext;
  readonly dialect: Dialect;
  readonly schemas: BodySchemas;
  readonly json: TaskJson;
}

export function createRouteSet(
  app: FastifyInstance,
  context: HttpContext,
  dialect: Dialect,
): RouteSet {
  const schemas = createBodySchemas(dialect);
  return { app, context, dialect, schemas, json: new TaskJson(context.reader, dialect) };
}

export interface PostRoute<T extends Type.TSchema> {
  readonly path: string;
  readonly role: Role;
  readonly scope: Scope | null;
  readonly body: T;
  /** Of the items in the body's list, if it has one. */
  readonly item?: Type.TObject;
  readonly rawField: "payload" | "result" | null;
  /** Whether no body at all stands for {}. */
  readonly mayBeEmpty: boolean;
  readonly bodyBytes: number;
  readonly handle: (body: Type.Static<T>, call: Call) => void;
}

/** Bytes of a body with one payload or result. */
export function singleBodyBytes(context: HttpContext): number {
  return context.options.payloadBytes + limits.httpEnvelopeBytes;
}

export function post<T extends Type.TObject>(routes: RouteSet, route: PostRoute<T>): void {
  const { app, context, dialect } = routes;
  const { reader } = context;
  const shape: BodyShape = {
    fields: new Set([
      ...Object.keys(route.body.properties),
      ...Object.keys(route.item?.properties ?? {}),
    ]),
    rawField: route.rawField,
    keepUnknown: dialect === "v1",
  };
  const schema: FastifySchema = { body: route.body };
  app.route({
    method: "POST",
    url: prefixOf(dialect) + route.path,
    schema,
    bodyLimit: route.bodyBytes,
    onRequest: (request, _reply, done) => {
      authenticate(context, request, route.role, route.scope);
      refuseQuery(request.query, dialect);
      done();
    },
    preValidation: (request, _reply, done) => {
      const sent = request.body;
      if (Buffer.isBuffer(sent) && sent.length > 0) {
        const body = reader.parse(sent, shape);
        if (dialect === "codeq") dropEmpty(body);
        request.body = body;
      } else if (route.mayBeEmpty) {
        request.body = {};
      } else {
        throw new QueueError("invalid_argument", "a JSON body is required");
      }
      done();
    },
    handler: (request, reply) => {
      const identity = present(request.identity, "a guarded route has an identity");
      // The one cast of the edge: the schema has just said that it is one.
      route.handle(request.body as Type.Static<T>, { identity, dialect, request, reply });
    },
  });
}

export interface BareRoute {
  readonly path: string;
  readonly role: Role | "any";
  readonly scope?: Scope;
  readonly handle: (call: Call) => void;
}

/** A read; its handler looks at the query. */
export function get(routes: RouteSet, route: BareRoute): void {
  bare(routes, "GET", route);
}

/** Removes what its path names. */
export function del(routes: RouteSet, route: BareRoute): void {
  bare(routes, "DELETE", route);
}

function bare(routes: RouteSet, method: "GET" | "DELETE", route: BareRoute): void {
  const { app, context, dialect } = routes;
  app.route({
    method,
    url: prefixOf(dialect) + route.path,
    onRequest: (request, _reply, done) => {
      authenticate(context, request, route.role, route.scope ?? null);
      done();
    },
    handler: (request, reply) => {
      const identity = present(request.identity, "a guarded route has an identity");
      route.handle({ identity, dialect, request, reply });
    },
  });
}

function prefixOf(dialect: Dialect): string {
  return dialect === "v1" ? "/v1" : "/v1/codeq";
}

function authenticate(
  context: HttpContext,
  request: FastifyRequest,
  role: Role | "any",
  scope: Scope | null,
): void {
  const identity = context.deps.authenticator.authenticate(bearerToken(request), role);
  if (scope !== null && !identity.can(scope)) {
    throw new QueueError("permission_denied", `the token has no scope ${scope}`);
  }
  request.identity = identity;
}
