/** Chapter 4 of Ongaro's thesis: changes of membership. Who proposes them is in shard/membership. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Configuration, restoreConfiguration, simple } from "../../src/raft/conf-change.ts";
import { majorityOf } from "../../src/raft/quorum.ts";
import {
  ackFrom,
  appendTo,
  at,
  change,
  entriesOf,
  flush,
  id,
  joint,
  Lab,
  lone,
  members,
  progressOf,
  term,
  voteFor,
} from "./lab.ts";

const options = { lastIndex: 1, maxInflightMsgs: 8, maxInflightBytes: 1000 };
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** All sets of `size` of these. */
function subsets(of: readonly number[], size: number): number[][] {
  const [first, ...rest] = of;
  if (size === 0) return [[]];
  if (first === undefined) return [];
  return [...subsets(rest, size - 1).map((set) => [first, ...set]), ...subsets(rest, size)];
}

test("4.1 majorities of two sets that differ by one voter always overlap", () => {
  for (let size = 1; size <= 6; size++) {
    const from: Configuration = restoreConfiguration(members(range(size)), options);
    for (const changes of [change("addVoter", 7), change("remove", size), change("update", 1)]) {
      assert(changes.kind === "v2");
      const result = simple(from, changes.changes, options);
      if (result.kind === "refused") {
        assert.equal(size, 1, result.reason);
        continue;
      }
      const next: readonly number[] = result.configuration.membership.voters;
      for (const old of subsets(range(size), majorityOf(size))) {
        for (const fresh of subsets(next, majorityOf(next.length))) {
          assert.ok(
            old.some((each) => fresh.includes(each)),
            `${old} and ${fresh}`,
          );
        }
      }
    }
  }
});

test("4.1 more than one voter at a time needs a joint configuration", () => {
  const from = restoreConfiguration(members([1, 2, 3]), options);
  for (const two of [change("addVoter", 4, 5), change("remove", 2, 3)]) {
    assert(two.kind === "v2");
    assert.equal(simple(from, two.changes, options).kind, "refused");
  }
  const lab = new Lab(5, {}, 3);
  lab.elect(1);
  const joints: number[] = [];
  lab.isLost = () => {
    joints.push(lab.node(2).membership.votersOutgoing.length);
    return false;
  };
  lab.change(1, change("addVoter", 4, 5));
  assert.ok(joints.includes(3), "it passed through both sets");
  assert.deepEqual(lab.node(5).membership, members([1, 2, 3, 4, 5]));
});

test("4.1 the next change waits until the last is in force", () => {
  const lab = new Lab(4, {}, 3);
  lab.elect(1);
  assert.equal(lab.node(1).proposeConfChange(change("addVoter", 4)).kind, "accepted");
  assert.equal(lab.node(1).proposeConfChange(change("remove", 3)).kind, "refused");
  lab.settle();
  lab.change(1, change("remove", 3));
  assert.deepEqual(lab.node(1).membership.voters, [1, 2, 4]);
});

test("4.1 a replica serves leaders and candidates that are not in its own set", () => {
  const member = lone(2, 3, [1]);
  member.node.step(voteFor(9, 2, { term: term(2), lastIndex: at(1), lastTerm: term(1) }));
  const [vote] = flush(member);
  assert(vote?.kind === "voteResponse" && !vote.reject && vote.to === 9);
  const prev = { prevIndex: at(1), prevTerm: term(1) };
  const entries = entriesOf([2], 2);
  member.node.step(appendTo(2, { from: id(9), term: term(2), ...prev, entries }));
  const [answer] = flush(member);
  assert(answer?.kind === "appendResponse" && !answer.reject && answer.index === 2);
});

test("4.1 a change that is not committed can vanish with its leader", () => {
  const lab = new Lab(4, {}, 3);
  lab.elect(1);
  lab.isolate(1);
  assert.equal(lab.node(1).proposeConfChange(change("addVoter", 4)).kind, "accepted");
  lab.settle();
  lab.elect(2);
  lab.heal();
  lab.tick(2, 1);
  lab.settle();
  for (const own of [1, 2, 3]) assert.deepEqual(lab.node(own).membership, members([1, 2, 3]));
});

test("4.2.1 a new server catches up as a learner, and does not hold commits back meanwhile", () => {
  const lab = new Lab(4, {}, 3);
  lab.elect(1);
  lab.isolate(4);
  lab.change(1, change("addLearner", 4));
  for (const text of ["a", "b", "c"]) lab.propose(1, text);
  assert.deepEqual(lab.at(1).applied, ["a", "b", "c"], "nobody waits for the learner");
  lab.heal();
  for (let i = 0; i < 3; i++) {
    lab.tick(1, 1);
    lab.settle();
  }
  assert.deepEqual(lab.at(4).applied, ["a", "b", "c"]);
  const { match, isLearner } = progressOf(lab.at(1), 4);
  assert.deepEqual([match, isLearner], [lab.node(1).lastIndex, true], "the leader sees it");
  lab.change(1, change("addVoter", 4));
  assert.deepEqual(lab.node(4).membership, members([1, 2, 3, 4]));
});

test("4.2.2 a leader that is removed leads on, does not count itself and takes nothing new", () => {
  const lab = new Lab(4, { checkQuorum: true });
  lab.elect(1);
  lab.change(1, change("remove", 1));
  assert.deepEqual([lab.node(1).role, lab.node(1).membership.voters], ["leader", [2, 3, 4]]);
  assert.equal(lab.node(1).propose(Buffer.from("x")).kind, "dropped");
  lab.node(1).transferLeadership(id(2));
  lab.settle();
  lab.tick(1, 1);
  lab.settle();
  assert.deepEqual([lab.node(1).role, lab.node(2).role], ["follower", "leader"]);
});

test("4.2.2 an entry of a removed leader needs a majority of the others", () => {
  const lab = new Lab(3);
  lab.elect(1);
  const leader = lab.at(1);
  assert.equal(leader.node.proposeConfChange(change("remove", 1)).kind, "accepted");
  assert.equal(leader.node.propose(Buffer.from("x")).kind, "accepted");
  flush(leader);
  leader.node.step(ackFrom(2, leader, 2));
  flush(leader);
  assert.deepEqual([leader.node.commitIndex, leader.node.membership.voters], [2, [2, 3]]);
  leader.node.step(ackFrom(2, leader, 3));
  assert.equal(leader.node.commitIndex, 2, "1 and 2 have it, of which 1 does not count");
  leader.node.step(ackFrom(3, leader, 3));
  assert.equal(leader.node.commitIndex, 3);
});

test("4.2.2 who has not applied its own removal may still be elected, for it may be needed", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isLost = (each) => each.kind === "append" && each.to === 3 && each.commit > 1;
  lab.change(1, change("remove", 3));
  assert.deepEqual([lab.node(3).lastIndex, lab.node(3).membership.voters], [2, [1, 2, 3]]);
  lab.node(3).campaign();
  assert.equal(lab.node(3).role, "candidate");
  // Where it is applied it is over.
  const gone = lone(3, 2);
  gone.node.campaign();
  assert.equal(gone.node.role, "follower");
});

test("4.2.3 who hears a leader ignores a request for its vote and does not take its term", () => {
  const lab = new Lab(3, { checkQuorum: true });
  lab.elect(1);
  for (const kind of ["vote", "preVote"] as const) {
    const ask = { kind, term: term(9), lastIndex: at(9), lastTerm: term(9) };
    lab.node(2).step(voteFor(3, 2, ask));
    assert.deepEqual(flush(lab.at(2)), [], kind);
    assert.equal(lab.node(2).term, 1);
  }
});

test("4.2.3 an election timeout after the leader was last heard requests count again", () => {
  const lab = new Lab(3, { checkQuorum: true, random: () => 9 });
  lab.elect(1);
  const ask = { term: term(9), lastIndex: at(9), lastTerm: term(9) };
  lab.tick(2, 9);
  lab.node(2).step(voteFor(3, 2, ask));
  assert.deepEqual(flush(lab.at(2)), []);
  lab.tick(2, 1);
  lab.node(2).step(voteFor(3, 2, ask));
  const [answer] = flush(lab.at(2));
  assert(answer?.kind === "voteResponse" && !answer.reject);
});

test("4.2.3 a request that the leader itself caused is not ignored", () => {
  const lab = new Lab(3, { checkQuorum: true });
  lab.elect(1);
  const ask = { term: term(2), lastIndex: at(9), lastTerm: term(9), transfer: true };
  lab.node(2).step(voteFor(3, 2, ask));
  const [answer] = flush(lab.at(2));
  assert(answer?.kind === "voteResponse" && !answer.reject);
});

test("4.2.4 commands go on while a change is under way", () => {
  const lab = new Lab(5, {}, 3);
  lab.elect(1);
  lab.change(1, joint("v4 v5 r2 r3", "jointExplicit"));
  lab.propose(1, "in between");
  lab.change(1, joint("", "auto"));
  lab.propose(1, "after");
  assert.deepEqual(lab.at(5).applied, ["in between", "after"]);
});

test("4.3 a joint change may be anything, and a voter that becomes a learner does so at its end", () => {
  const lab = new Lab(5, {}, 3);
  lab.elect(1);
  lab.change(1, joint("v4 v5 r2 l3", "jointExplicit"));
  const { voters, votersOutgoing, learners, learnersNext } = lab.node(4).membership;
  assert.deepEqual(
    [voters, votersOutgoing, learners, learnersNext],
    [[1, 4, 5], [1, 2, 3], [], [3]],
  );
  lab.change(1, joint("", "auto"));
  assert.deepEqual(lab.node(4).membership, members([1, 4, 5], [3]));
});

test("4.3 who wants no end by itself proposes it; nothing else is taken before", () => {
  const lab = new Lab(4, {}, 3);
  lab.elect(1);
  lab.change(1, joint("v4", "jointExplicit"));
  for (const other of [change("addVoter", 5), joint("r2", "jointImplicit")]) {
    assert.equal(lab.node(1).proposeConfChange(other).kind, "refused");
  }
  lab.settle();
  lab.change(1, joint("", "auto"));
  assert.equal(lab.node(1).proposeConfChange(joint("", "auto")).kind, "refused", "it has ended");
});

test("4.3 a new leader ends the joint change that it finds in its log", () => {
  const lab = new Lab(5, {}, 3);
  lab.elect(1);
  // The old leader gets no further than the joint set.
  lab.isLost = (each) =>
    each.kind === "append" && each.entries.some((entry) => entry.data.length === 0);
  lab.change(1, joint("v4 v5 r2 r3"));
  assert.deepEqual(lab.node(2).membership.votersOutgoing, [1, 2, 3]);
  lab.isolate(1);
  lab.elect(2);
  lab.tick(2, 1);
  lab.settle();
  assert.equal(lab.node(2).role, "leader");
  assert.deepEqual(lab.node(4).membership, members([1, 4, 5]));
});
