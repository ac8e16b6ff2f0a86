/** Who belongs to the cluster, and who leads: changed by any admin, whatever its tenant. */
import type { MemberBody, TransferBody } from "../../../api/schema.ts";
import { toQueueError } from "../../../api/wire-errors.ts";
import type { LogFields } from "../../../base/effects.ts";
import { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import type { MemberNames, MembersAdmin } from "../../../router/members.ts";
import { type Call, isGone, sendError, sendJson } from "../context.ts";
import { del, post, type RouteSet } from "../routing.ts";
import { outOfRule, refuseQuery } from "../validation.ts";
import { audit } from "./admin.ts";

const common = { role: "admin", scope: "codeq:admin" } as const;
const posted = {
  ...common,
  rawField: null,
  mayBeEmpty: true,
  bodyBytes: limits.httpEnvelopeBytes,
} as const;

export function addMemberRoutes(routes: RouteSet): void {
  const { schemas } = routes;
  post(routes, {
    ...posted,
    path: "/admin/members",
    body: schemas.member,
    handle: (body, call) => addMember(routes, body, call),
  });
  del(routes, {
    ...common,
    path: "/admin/members/:id",
    handle: (call) => removeMember(routes, call),
  });
  post(routes, {
    ...posted,
    path: "/admin/leader/transfer",
    body: schemas.transfer,
    handle: (body, call) => transfer(routes, body, call),
  });
}

function addMember(routes: RouteSet, body: MemberBody, call: Call): void {
  const { id: nodeId, raft, http = "", grpc = "" } = body;
  if (Number(raft.slice(raft.lastIndexOf(":") + 1)) > 65_535) {
    throw outOfRule("raft", "must be host:port, with a port up to 65535");
  }
  change(routes, call, { name: "member add", target: { member: nodeId } }, (members) =>
    members.add({ nodeId, raft, http, grpc }),
  );
}

function removeMember(routes: RouteSet, call: Call): void {
  refuseQuery(call.request.query, call.dialect);
  const { id } = call.request.params as { readonly id: string };
  change(routes, call, { name: "member remove", target: { member: id } }, (members) =>
    members.remove(id),
  );
}

function transfer(routes: RouteSet, body: TransferBody, call: Call): void {
  const { shard = null, to = null } = body;
  const target = { shard: shard ?? "all", member: to ?? "any" };
  change(routes, call, { name: "leader transfer", target }, (members) =>
    members.transfer(shard, to),
  );
}

function change(
  { context }: RouteSet,
  call: Call,
  { name, target }: { readonly name: string; readonly target: LogFields },
  run: (members: MembersAdmin) => Promise<MemberNames>,
): void {
  const { members } = context.deps;
  if (!members) {
    throw new QueueError(
      "invalid_argument",
      "raft.enabled is not set: who belongs together here is for good",
    );
  }
  run(members).then(
    ({ voters, learners }) => {
      const outcome = { ...target, voters: voters.join(), learners: learners.join() };
      audit(context, call, { name, queue: undefined }, outcome);
      if (!isGone(call.reply)) sendJson(call.reply, 200, JSON.stringify({ voters, learners }));
    },
    (thrown) => {
      const error = toQueueError(thrown);
      audit(context, call, { name, queue: undefined }, { ...target, code: error.code });
      if (!isGone(call.reply)) sendError(context, call, error);
    },
  );
}
