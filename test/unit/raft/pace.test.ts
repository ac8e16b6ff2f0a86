/** Election timeouts that grow with the silences of members that are in their place. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Pace } from "../../../src/raft/pace.ts";
import { appendTo, at, carryOut, id, Lab, lone, type Member, term } from "../../raft/lab.ts";

describe("the pace", () => {
  test("is one and a half times the second longest silence, within its bounds", () => {
    const pace = new Pace(6, 60);
    assert.equal(pace.timeout, 6);
    pace.heardAfter(20);
    assert.equal(pace.timeout, 6, "one stall says nothing");
    pace.heardAfter(7);
    assert.equal(pace.timeout, 11);
    pace.heardAfter(30);
    assert.equal(pace.timeout, 30, "20 is the second longest now");
    for (let i = 0; i < 2; i++) pace.heardAfter(59);
    assert.equal(pace.timeout, 60);
  });

  test("learns nothing from an outage", () => {
    const pace = new Pace(6, 60);
    for (let i = 0; i < 5; i++) pace.heardAfter(61);
    assert.equal(pace.timeout, 6);
  });

  test("fades within 90 s of ticks of 50 ms, and grows again", () => {
    const pace = new Pace(6, 60);
    for (let i = 0; i < 2; i++) pace.heardAfter(60);
    let last = pace.timeout;
    for (let i = 0; i < 1_800; i++) {
      pace.tick();
      assert.ok(pace.timeout <= last);
      last = pace.timeout;
    }
    assert.equal(pace.timeout, 6);
    for (let i = 0; i < 2; i++) pace.heardAfter(10);
    assert.equal(pace.timeout, 15);
  });
});

const options = { electionTicks: 6, electionTicksMax: 60, checkQuorum: true, preVote: true };

/** The leader, 1, is heard by a follower after so many ticks. */
function hear(follower: Member, after: number): void {
  for (let i = 0; i < after; i++) follower.node.tick();
  follower.node.step(appendTo(2, {}));
  while (follower.node.hasReady()) carryOut(follower);
}

describe("a follower", () => {
  test("that heard its leader late twice waits longer before it asks for votes", () => {
    const follower = lone(2, 3, [], options, 1);
    hear(follower, 1);
    // Longer than the timeout: it asks for votes, and is told that the leader lives.
    for (let i = 0; i < 2; i++) hear(follower, 20);
    assert.deepEqual([follower.node.role, follower.node.term], ["follower", 1]);
    for (let i = 0; i < 29; i++) follower.node.tick();
    assert.equal(follower.node.role, "follower");
    follower.node.tick();
    assert.equal(follower.node.role, "pre-candidate");
  });

  test("does not learn from the time until another leader was there", () => {
    const follower = lone(2, 3, [], options, 1);
    for (let leader = 1; leader <= 4; leader++) {
      for (let i = 0; i < 20; i++) follower.node.tick();
      const from = id(leader === 2 ? 3 : leader);
      follower.node.step(appendTo(2, { from, term: term(leader + 1) }));
      while (follower.node.hasReady()) carryOut(follower);
    }
    for (let i = 0; i < 6; i++) follower.node.tick();
    assert.equal(follower.node.role, "pre-candidate");
  });

  test("refuses pre-votes as long as it would wait itself", () => {
    const asked = (silence: number) => {
      const follower = lone(2, 3, [], options, 1);
      hear(follower, 1);
      for (let i = 0; i < 2; i++) hear(follower, 20);
      for (let i = 0; i < silence; i++) follower.node.tick();
      follower.node.step({
        kind: "preVote",
        from: id(3),
        to: id(2),
        term: term(2),
        lastIndex: follower.log.lastIndex(),
        lastTerm: term(0),
        transfer: false,
      });
      return follower.node.ready().messages.some(({ kind }) => kind === "preVoteResponse");
    };
    assert.equal(asked(29), false);
    assert.equal(asked(30), true);
  });
});

test("a leader that heard its followers late twice stays longer without a quorum", () => {
  const leads = (silent: number, electionTicksMax = 60) => {
    const lab = new Lab(3, { ...options, electionTicksMax });
    lab.elect(1);
    // Nothing of the followers for five ticks, four times: shorter than the timeout.
    for (let i = 0; i < 4; i++) {
      lab.isLost = () => true;
      lab.tick(1, 5);
      lab.isLost = () => false;
      lab.tick(1, 1);
      lab.settle();
    }
    lab.isLost = () => true;
    lab.tick(1, silent);
    return lab.node(1).role === "leader";
  };
  assert.equal(leads(13), true);
  assert.equal(leads(13, 6), false);
  assert.equal(leads(20), false);
});

test("lease reads and timeouts that grow do not go together", () => {
  assert.throws(() => lone(2, 3, [], { ...options, readOnly: "lease" }), /do not grow/);
  lone(2, 3, [], { ...options, readOnly: "lease", electionTicksMax: 6 });
});

test("a leader's own disk that is slow is no line", () => {
  const lab = new Lab(3, options);
  lab.elect(1);
  const { lastIndex } = lab.node(1);
  for (let i = 0; i < 4; i++) {
    // The followers are heard at each tick, the own disk after six.
    for (let k = 0; k < 6; k++) {
      lab.tick(1, 1);
      lab.settle();
    }
    lab.node(1).step({
      ...{ kind: "appendResponse", from: id(1), to: id(1), term: term(1) },
      ...{ index: lastIndex, reject: false, hintIndex: at(0), hintTerm: term(0) },
    });
  }
  lab.isLost = () => true;
  lab.tick(1, 13);
  assert.equal(lab.node(1).role, "follower");
});
