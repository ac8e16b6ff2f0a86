import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  createAcceptHandshake,
  createDialHandshake,
  type Handshake,
  type HandshakeDeps,
  type HandshakeStep,
  nonceBytes,
  type OwnMessage,
  ownTypes,
} from "../../../src/transport/handshake.ts";
import { clusterIds } from "../../contract/transport-node.ts";
import { identityOf, secret } from "./tcp-world.ts";

const a = identityOf({ nodeId: "a", storeId: 1, clusterId: clusterIds.one });
const b = identityOf({ nodeId: "b", storeId: 2, clusterId: "" });

let nonces = 0;

function depsOf(identity: typeof a, own = secret): HandshakeDeps {
  return {
    nonce: () => Buffer.alloc(nonceBytes, ++nonces),
    identity: () => identity,
    secret: own,
    objection: (_peer, isMeant) => (isMeant ? null : "node"),
  };
}

interface Talk {
  readonly dialler: HandshakeStep | null;
  readonly acceptor: HandshakeStep | null;
  /** Messages of both sides, in order. */
  readonly said: readonly OwnMessage[];
}

/** @param change - what the wire makes of a message */
function talk(
  dialler: Handshake,
  acceptor: Handshake,
  change: (message: OwnMessage, place: number) => OwnMessage = (message) => message,
): Talk {
  const said: OwnMessage[] = [];
  const last: { dialler: HandshakeStep | null; acceptor: HandshakeStep | null } = {
    dialler: null,
    acceptor: null,
  };
  let message = dialler.opening;
  for (let turn = 0; message !== null; turn++) {
    const carried = change(message, said.length);
    said.push(carried);
    const receiver = turn % 2 === 0 ? acceptor : dialler;
    const step: HandshakeStep = receiver.receive(carried.type, carried.body);
    if (turn % 2 === 0) last.acceptor = step;
    else last.dialler = step;
    message = "message" in step ? step.message : null;
  }
  return { ...last, said };
}

const dial = (deps = depsOf(b), wanted = "a") => createDialHandshake(deps, "bulk", wanted);
const accept = (deps = depsOf(a)) => createAcceptHandshake(deps);

test("two nodes learn who the other is, and the channel", () => {
  const { dialler, acceptor, said } = talk(dial(), accept());
  assert.deepEqual(
    said.map(({ type }) => type),
    [ownTypes.hello, ownTypes.challenge, ownTypes.introduction, ownTypes.welcome],
  );
  assert.ok(dialler?.kind === "done" && acceptor?.kind === "done");
  assert.deepEqual(dialler.peer, a);
  assert.deepEqual(acceptor.peer, b);
  assert.equal(acceptor.channel, "bulk");
  assert.equal(dialler.clusterId, "");
  assert.equal(acceptor.clusterId, clusterIds.one);
});

test("before a proof a stranger learns nothing but a nonce", () => {
  const { said } = talk(dial(depsOf(b, "no such secret")), accept());
  assert.deepEqual(
    said.map(({ type }) => type),
    [ownTypes.hello, ownTypes.challenge, ownTypes.introduction, ownTypes.refusal],
  );
  assert.equal(said[1]?.body.length, nonceBytes);
});

test("an acceptor without the secret is refused", () => {
  const stranger = createAcceptHandshake(depsOf(a, "no such secret"));
  // it lets everybody in
  const lenient: Handshake = {
    opening: null,
    receive(type, body) {
      const step = stranger.receive(type, body);
      if (step.kind !== "refuse") return step;
      return { kind: "reply", message: { type: ownTypes.welcome, body: Buffer.alloc(200) } };
    },
  };
  const { dialler } = talk(dial(), lenient);
  assert.deepEqual(dialler, { kind: "refuse", reason: "secret", message: null });
});

test("no message of one talk is worth anything in another, nor back at its sender", () => {
  const old = talk(dial(), accept()).said;
  for (const place of [0, 1, 2, 3]) {
    const { dialler, acceptor } = talk(dial(), accept(), (message, at) =>
      at === place ? (old[place] ?? message) : message,
    );
    const isDone = dialler?.kind === "done" && acceptor?.kind === "done";
    assert.equal(isDone, false, `message ${place}`);
  }
  // an acceptor's own proof, given back to it as a dialler's
  const [hello, , , welcome] = talk(dial(depsOf(b), "a"), accept(depsOf(a))).said;
  const mirror = accept(depsOf(a));
  mirror.receive(ownTypes.hello, hello?.body ?? Buffer.alloc(0));
  const step = mirror.receive(ownTypes.introduction, welcome?.body ?? Buffer.alloc(0));
  assert.ok(step.kind === "refuse" && step.reason === "secret");
});

test("a talk in which any bit was changed does not end well for both", () => {
  const bytes = talk(dial(), accept()).said.map(({ body }) => body.length);
  const places = fc.integer({ min: 0, max: 3 }).chain((place) =>
    fc.record({
      place: fc.constant(place),
      at: fc.integer({ min: 0, max: (bytes[place] ?? 1) - 1 }),
      bit: fc.integer({ min: 0, max: 7 }),
    }),
  );
  fc.assert(
    fc.property(places, ({ place, at, bit }) => {
      const { dialler, acceptor } = talk(dial(), accept(), (message, index) => {
        if (index !== place) return message;
        const body = Buffer.from(message.body);
        body[at] = (body[at] as number) ^ (1 << bit);
        return { ...message, body };
      });
      assert.ok(dialler?.kind !== "done" || acceptor?.kind !== "done");
      // whoever is told the change first refuses: nobody takes the other for somebody else
      for (const step of [dialler, acceptor]) {
        if (step?.kind === "done") assert.ok(["a", "b"].includes(step.peer.nodeId));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("any bytes as a message are refused, and never more than that", () => {
  const message = fc.record({
    type: fc.integer({ min: 235, max: 255 }),
    body: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 4 }), fc.boolean(), (messages, isDialled) => {
      const handshake = isDialled ? dial() : accept();
      for (const { type, body } of messages) {
        assert.notEqual(handshake.receive(type, body).kind, "done");
      }
    }),
    { numRuns: 2_000 },
  );
});

test("messages out of turn are refused", () => {
  const [hello, challenge, introduction, welcome] = talk(dial(), accept()).said;
  assert.ok(hello && challenge && introduction && welcome);
  assert.equal(accept().receive(introduction.type, introduction.body).kind, "refuse");
  assert.equal(dial().receive(welcome.type, welcome.body).kind, "refuse");
  const twice = accept();
  assert.equal(twice.receive(hello.type, hello.body).kind, "reply");
  assert.equal(twice.receive(hello.type, hello.body).kind, "refuse");
});

test("a node that was not meant is refused on both sides", () => {
  const { acceptor, dialler } = talk(dial(depsOf(b), "c"), accept());
  assert.ok(acceptor?.kind === "refuse" && acceptor.reason === "node");
  assert.deepEqual(dialler, { kind: "refused", reason: "node" });
  // an acceptor that does not mind
  const easy = { ...depsOf(a), objection: () => null };
  const second = talk(dial(depsOf(b), "c"), createAcceptHandshake(easy));
  assert.deepEqual(second.dialler, { kind: "refuse", reason: "node", message: null });
});
