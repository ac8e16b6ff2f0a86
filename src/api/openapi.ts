/**
 * The description of the API as OpenAPI 3.1. Bodies are the very schemas that requests are checked
 * with; routes and answers are told in openapi-routes.ts and openapi-answers.ts.
 */
import type Type from "typebox";
import { answerSchemas } from "./openapi-answers.ts";
import { type RouteDescription, routeDescriptions } from "./openapi-routes.ts";
import { type BodySchemas, createBodySchemas, queueNamePattern } from "./schema.ts";

const roots = [{ url: "/", description: "At the root, without prefix" }];

const tags = [
  { name: "tasks", description: "Create tasks and look at them" },
  { name: "workers", description: "Claim tasks under a lease and settle them" },
  { name: "admin", description: "Queues of the token's tenant" },
  { name: "cluster", description: "Nodes, shards and their leaders" },
  { name: "health", description: "For those who watch the node" },
];

const about = `QuorumQ is a durable task queue. All routes of the first server stand under /v1/codeq, too, for
codeQ's clients: there \`payload\` in an answer is a string that holds JSON, unknown fields are ignored and values
out of range are clamped. Tokens travel as \`Authorization: Bearer <token>\`; a node without tokens asks for none.`;

/** The document as JSON text. */
export function createOpenApi(version: string): string {
  const bodies = createBodySchemas("v1");
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routeDescriptions) {
    paths[route.path] = {
      ...(route.at === "root" ? { servers: roots } : {}),
      ...paths[route.path],
      [route.method]: operation(route, bodies),
    };
  }
  return JSON.stringify({
    openapi: "3.1.0",
    info: {
      title: "QuorumQ",
      version,
      description: about,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [
      { url: "/v1", description: "Strict" },
      { url: "/v1/codeq", description: "For codeQ's clients" },
    ],
    tags,
    security: [{ token: [] }, {}],
    paths,
    components: {
      schemas: { ...answerSchemas, CreateTask: bodies.create, ResultItem: bodies.resultItem },
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
      responses: {
        Refused: refusal("The request was refused; `code` says why"),
        Failed: refusal("The node cannot do it now; `code` and Retry-After say what to do"),
        Redirect: refusal("Another node leads the shard: Location says where"),
      },
    },
  });
}

function refusal(description: string) {
  const schema = { $ref: "#/components/schemas/Error" };
  return { description, content: { "application/json": { schema } } };
}

function operation(route: RouteDescription, bodies: BodySchemas) {
  const { id, tag, summary, who, body, answers } = route;
  const parameters = [
    ...pathParameters(route.path),
    ...queryParameters(route),
    ...keyHeader(route),
  ];
  const responses: Record<string, unknown> = {};
  for (const [status, [name, description]] of Object.entries(answers)) {
    responses[status] = { description, ...contentOf(name) };
  }
  responses["4XX"] = { $ref: "#/components/responses/Refused" };
  if (who !== "none") {
    if (route.method === "post") responses["307"] = { $ref: "#/components/responses/Redirect" };
    responses["5XX"] = { $ref: "#/components/responses/Failed" };
  }
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(who === "none" ? { security: [] } : { description: `Takes the token of: ${whose(who)}.` }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: requestBody(body, bodies) }),
    responses,
  };
}

function whose(who: RouteDescription["who"]): string {
  return who === "any" ? "anybody who is known" : `a ${who}`.replace(/^a a/u, "an a");
}

function contentOf(name: string | null) {
  if (name === null) return {};
  if (name === "text") return { content: { "text/plain": { schema: { type: "string" } } } };
  return { content: { "application/json": { schema: { $ref: `#/components/schemas/${name}` } } } };
}

type Body = NonNullable<RouteDescription["body"]>;

function requestBody({ schema, example }: Body, bodies: BodySchemas) {
  const shown = withItems(schema, bodies);
  const { required } = bodies[schema] as Type.TObject & { readonly required?: readonly string[] };
  return {
    required: (required ?? []).length > 0,
    content: { "application/json": { schema: shown, example } },
  };
}

/** The items of a batch are checked one by one, so their schema does not stand in the list's. */
function withItems(name: keyof BodySchemas, bodies: BodySchemas): unknown {
  const schema = bodies[name];
  if (name === "create") return { $ref: "#/components/schemas/CreateTask" };
  const list = name === "createBatch" ? "tasks" : name === "resultBatch" ? "results" : null;
  if (list === null) return schema;
  const item = list === "tasks" ? "CreateTask" : "ResultItem";
  const properties: Readonly<Record<string, object>> = schema.properties;
  const items = { $ref: `#/components/schemas/${item}` };
  return { ...schema, properties: { ...properties, [list]: { ...properties[list], items } } };
}

function pathParameters(path: string) {
  return [...path.matchAll(/\{(\w+)\}/gu)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema:
      name === "id"
        ? { type: "string", format: "uuid" }
        : { type: "string", pattern: queueNamePattern },
  }));
}

function queryParameters({ query }: RouteDescription) {
  return (query ?? []).map(({ name, description, schema }) => {
    return { name, in: "query", description, schema };
  });
}

function keyHeader({ id }: RouteDescription) {
  if (id !== "createTask") return [];
  const description = "The same key and request give the same task again, another request 409";
  const schema = { type: "string", minLength: 1, maxLength: 256 };
  return [{ name: "Idempotency-Key", in: "header", description, schema }];
}
