import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { limits } from "../../../src/base/limits.ts";
import { watchConnection } from "../../../src/client/connection-watch.ts";
import { ManualEffects } from "./manual-effects.ts";

const silenceMs = limits.clientPingMs + limits.clientPingAnswerMs;

let effects: ManualEffects;
let connection: { bytesRead: number; isCut: boolean; close: () => void };

beforeEach(() => {
  effects = new ManualEffects();
  connection = { bytesRead: 9, isCut: false, close: () => assert.fail("nobody listens") };
  const watched = {
    get bytesRead() {
      return connection.bytesRead;
    },
    destroy() {
      connection.isCut = true;
    },
    once(_event: "close", listener: () => void) {
      connection.close = listener;
    },
  };
  watchConnection(watched, effects);
});

/** The event loop stands: no timer fires meanwhile, and then those that are due, before all reading. */
function stand(ms: number): void {
  effects.nowMs += ms;
  effects.advance(0);
}

test("a connection over which nothing comes for a ping and its answer is cut", () => {
  effects.advance(silenceMs - 1);
  assert.equal(connection.isCut, false);
  effects.advance(1);
  assert.equal(connection.isCut, true);
  assert.equal(effects.pending, 0);
});

test("a connection over which anything comes is not", () => {
  for (let i = 0; i < 20; i++) {
    connection.bytesRead += 17;
    effects.advance(limits.clientPingMs);
  }
  assert.equal(connection.isCut, false);
});

test("a client that stood itself does not blame its node: what came meanwhile is read first", () => {
  effects.advance(limits.clientPingMs);
  for (let i = 0; i < 5; i++) {
    stand(silenceMs + 1_000);
    assert.equal(connection.isCut, false);
    connection.bytesRead += 17;
  }
});

test("a node that hangs while its client stood is still told, at the next look", () => {
  stand(silenceMs + 1_000);
  assert.equal(connection.isCut, false);
  effects.advance(limits.clientLookMs);
  assert.equal(connection.isCut, true);
});

test("a client that stands again and again leaves a node that hangs all the same", () => {
  stand(silenceMs + 1_000);
  assert.equal(connection.isCut, false);
  stand(silenceMs + 1_000);
  assert.equal(connection.isCut, true);
});

test("a connection that is closed is watched no more", () => {
  connection.close();
  assert.equal(effects.pending, 0);
});
