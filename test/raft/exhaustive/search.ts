/**
 * Every schedule of a small group, breadth first, over the real core: each replica may stand, take a
 * proposal, send heartbeats or die, and each message may arrive at any time, again, or never. The wire
 * is the set of all that was ever sent, so loss, repetition and reordering need no events of their own.
 */
import { isDeepStrictEqual } from "node:util";
import { present } from "../../../src/base/assert.ts";
import { majorityOf } from "../../../src/raft/quorum.ts";
import { describeMessage } from "../describe.ts";
import {
  checkLeader,
  checkPair,
  durableOf,
  emptyHistory,
  extendHistory,
  type History,
} from "./checks.ts";
import {
  BrokenInvariant,
  codeOf,
  eventOf,
  type LocalEvent,
  LocalSteps,
  type LocalView,
} from "./local.ts";
import { StateSet } from "./state-set.ts";

export interface Scenario {
  readonly name: string;
  /** Terms of the entries in each replica's log at the start. */
  readonly logs: readonly (readonly number[])[];
  /** Nobody stands for a higher term. */
  readonly maxTerm: number;
  readonly proposals: number;
  readonly crashes: number;
  /** Ids of those that are learners at the start, and how often a leader may make them voters. */
  readonly learners: readonly number[];
  readonly changes: number;
  readonly heartbeats: boolean;
  readonly preVote: boolean;
  /** Ids of those whose writes are events of their own, so that answers of others may be faster. */
  readonly slowDisks: readonly number[];
  /** Given up after so many states. */
  readonly maxStates: number;
}

export interface Outcome {
  readonly states: number;
  readonly transitions: number;
  readonly localStates: number;
  readonly messages: number;
  readonly depth: number;
  /** All that can be reached was seen. */
  readonly isComplete: boolean;
  /** "" if every promise holds. */
  readonly broken: string;
  /** How it came to that, a line for each event. */
  readonly trace: readonly string[];
}

/** Numbers of local states, then these, then the messages on the wire, sorted. */
const proposalsAt = 3;
const crashesAt = 4;
const changesAt = 5;
const historyAt = 6;
const wireAt = 7;

const eventsMax = 2 ** 24;

/** A disk this far behind holds its replica up. */
const writesMax = 2;

type State = readonly number[];

interface Found {
  /** In order of discovery. */
  readonly number: number;
  readonly state: State;
}

interface Broken {
  readonly text: string;
  readonly parent: number;
  readonly own: number;
  readonly event: LocalEvent;
}

export function search(scenario: Scenario): Outcome {
  return new Search(scenario).run();
}

class Search {
  private readonly scenario: Scenario;
  private readonly local: LocalSteps;
  private readonly seen = new StateSet();
  private readonly histories: History[] = [emptyHistory];
  /** What the checks have said, by the numbers of what they looked at. */
  private readonly pairs = new Map<number, string>();
  private readonly leaders = new Map<number, string>();
  private readonly durable = new Map<number, number>();
  private readonly extensions = new Map<number, number | string>();
  /** Per state in order of discovery: whence it came, and by what (own * eventsMax + code). */
  private readonly parents: number[] = [-1];
  private readonly events: number[] = [0];
  private transitions = 0;
  private broken: Broken | undefined;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.local = new LocalSteps(scenario);
  }

  run(): Outcome {
    const { proposals, crashes, changes } = this.scenario;
    const first: State = [...this.local.initial, proposals, crashes, changes, 0];
    this.seen.add(first);
    let level: readonly Found[] = [{ number: 0, state: first }];
    let depth = 0;
    while (level.length > 0 && !this.isOver()) {
      const next: Found[] = [];
      for (const found of level) {
        if (this.isOver()) break;
        this.expand(found, next);
      }
      level = next;
      depth++;
    }
    return {
      states: this.seen.size,
      transitions: this.transitions,
      localStates: this.local.stateCount,
      messages: this.local.messages.length,
      depth,
      isComplete: level.length === 0 && this.broken === undefined,
      broken: this.broken?.text ?? "",
      trace: this.trace(),
    };
  }

  private isOver(): boolean {
    return this.broken !== undefined || this.seen.size >= this.scenario.maxStates;
  }

  private expand({ number, state }: Found, next: Found[]): void {
    for (let own = 0; own < 3; own++) {
      for (const event of this.ownEvents(state, own)) this.attempt(number, state, own, event, next);
    }
    const mayDie = (state[crashesAt] as number) > 0;
    for (let i = wireAt; i < state.length; i++) {
      const message = state[i] as number;
      const own = present(this.local.messages[message], "a message").to - 1;
      if (this.local.view(state[own] as number).writes >= writesMax) continue;
      this.attempt(number, state, own, { kind: "deliver", message, dies: false }, next);
      // A slow disk's replica can die between the event and the write as it is.
      if (!mayDie || this.scenario.slowDisks.includes(own + 1)) continue;
      this.attempt(number, state, own, { kind: "deliver", message, dies: true }, next);
    }
  }

  private attempt(
    parent: number,
    state: State,
    own: number,
    event: LocalEvent,
    next: Found[],
  ): void {
    const after = this.follow(state, own, event);
    if (after === undefined) return;
    if (typeof after === "string") {
      this.broken ??= { text: after, parent, own, event };
      return;
    }
    this.transitions++;
    if (!this.seen.add(after)) return;
    next.push({ number: this.parents.length, state: after });
    this.parents.push(parent);
    this.events.push(own * eventsMax + codeOf(event));
  }

  private ownEvents(state: State, own: number): LocalEvent[] {
    const view = this.local.view(state[own] as number);
    const events: LocalEvent[] = [];
    if (view.writes > 0) events.push({ kind: "write" });
    if ((state[crashesAt] as number) > 0) events.push({ kind: "crash" });
    if (view.writes >= writesMax) return events;
    // By symmetry the first to stand may be the first of all that are alike.
    const isFirst = state.length === wireAt;
    if (
      view.term < this.scenario.maxTerm &&
      !view.isLeader &&
      !(isFirst && this.isLikeAnEarlier(own))
    ) {
      events.push({ kind: "campaign" });
    }
    if (view.isLeader && (state[proposalsAt] as number) > 0) events.push({ kind: "propose" });
    if (view.isLeader && (state[changesAt] as number) > 0) events.push({ kind: "change" });
    if (view.isLeader && this.scenario.heartbeats) events.push({ kind: "beat" });
    return events;
  }

  private isLikeAnEarlier(own: number): boolean {
    const { logs } = this.scenario;
    return logs.slice(0, own).some((log) => log.join() === logs[own]?.join());
  }

  /** @returns the state after the event; undefined if nothing happens; what is broken, if it is */
  private follow(state: State, own: number, event: LocalEvent): State | string | undefined {
    try {
      const step = this.local.step(state[own] as number, event);
      if (step === null) return undefined;
      const isCrash = event.kind === "crash" || (event.kind === "deliver" && event.dies);
      const after = state.slice(0, wireAt);
      after[own] = step.next;
      if (event.kind === "propose") (after[proposalsAt] as number)--;
      if (event.kind === "change") (after[changesAt] as number)--;
      if (isCrash) (after[crashesAt] as number)--;
      const broken = this.check(after, own);
      if (broken !== "") return broken;
      return this.withWire(after, state, own, step.sent);
    } catch (error) {
      if (error instanceof BrokenInvariant) return `the core stops: ${error.message}`;
      throw error;
    }
  }

  private check(after: number[], own: number): string {
    const changed = after[own] as number;
    for (let other = 0; other < 3; other++) {
      if (other === own) continue;
      const broken = this.checkPair(changed, after[other] as number);
      if (broken !== "") return broken;
    }
    const history = this.historyAfter(after[historyAt] as number, changed);
    if (typeof history === "string") return history;
    after[historyAt] = history;
    for (let each = 0; each < 3; each++) {
      const broken = this.checkLeader(history, after[each] as number);
      if (broken !== "") return broken;
    }
    return this.checkDurable(history, after);
  }

  /** What is committed stays on the disks of a majority, on which all else that is promised rests. */
  private checkDurable(history: number, state: State): string {
    const { entries } = present(this.histories[history], "a history");
    let complete = 0;
    for (let own = 0; own < 3; own++) {
      if (this.durableOf(history, state[own] as number) === entries.length) complete++;
    }
    return complete >= majorityOf(3 - this.scenario.learners.length)
      ? ""
      : `durability: ${entries.join(" ")} is on ${complete} of 3 disks`;
  }

  private durableOf(history: number, state: number): number {
    return remembered(this.durable, history * 2 ** 24 + state, () =>
      durableOf(present(this.histories[history], "a history"), this.local.view(state)),
    );
  }

  private checkPair(one: number, other: number): string {
    return remembered(this.pairs, one * 2 ** 24 + other, () =>
      checkPair(this.local.view(one), this.local.view(other)),
    );
  }

  private checkLeader(history: number, state: number): string {
    return remembered(this.leaders, history * 2 ** 24 + state, () =>
      checkLeader(present(this.histories[history], "a history"), this.local.view(state)),
    );
  }

  private historyAfter(history: number, state: number): number | string {
    return remembered(this.extensions, history * 2 ** 24 + state, () => {
      const after = extendHistory(
        present(this.histories[history], "a history"),
        this.local.view(state),
      );
      return typeof after === "string" ? after : this.historyNumber(after);
    });
  }

  private historyNumber(history: History): number {
    const known = this.histories.findIndex((each) => isDeepStrictEqual(each, history));
    return known >= 0 ? known : this.histories.push(history) - 1;
  }

  /** Adds what was sent, and takes away what can have no effect any more. */
  private withWire(after: number[], before: State, own: number, sent: readonly number[]): State {
    let next = 0;
    const add = (message: number, isNew: boolean): void => {
      const { to, kind, term } = present(this.local.messages[message], "a message");
      // For the others nothing has changed.
      if (isNew || to === own + 1) {
        const view = this.local.view(after[to - 1] as number);
        if (isOver(kind, term, view, this.scenario.preVote)) return;
      }
      after.push(message);
    };
    for (let i = wireAt; i < before.length; i++) {
      const message = before[i] as number;
      while (next < sent.length && (sent[next] as number) < message)
        add(sent[next++] as number, true);
      if (sent[next] === message) next++;
      add(message, false);
    }
    while (next < sent.length) add(sent[next++] as number, true);
    return after;
  }

  private trace(): string[] {
    if (this.broken === undefined) return [];
    const lines = [this.line(this.broken.own, this.broken.event)];
    for (let at = this.broken.parent; at > 0; at = this.parents[at] as number) {
      const event = this.events[at] as number;
      lines.push(this.line(Math.floor(event / eventsMax), eventOf(event % eventsMax)));
    }
    return lines.reverse();
  }

  private line(own: number, event: LocalEvent): string {
    if (event.kind !== "deliver") return `${own + 1} ${event.kind}`;
    const message = present(this.local.messages[event.message], "a message");
    return `${own + 1} receives ${describeMessage(message)}${event.dies ? " and dies" : ""}`;
  }
}

function remembered<T>(known: Map<number, T>, key: number, find: () => T): T {
  const seen = known.get(key);
  if (seen !== undefined) return seen;
  const found = find();
  known.set(key, found);
  return found;
}

/** Whether a message changes nothing now and will never do so: terms on disk do not go back. */
function isOver(kind: string, term: number, view: LocalView, preVote: boolean): boolean {
  // Who is behind is told so.
  if (preVote && (kind === "append" || kind === "heartbeat" || kind === "preVote")) return false;
  if (kind === "preVote" || kind === "preVoteResponse") return false;
  if (term < view.durableTerm) return true;
  if (term > view.durableTerm) return false;
  if (kind === "voteResponse") return !view.isCandidate;
  if (kind === "appendResponse" || kind === "heartbeatResponse") return !view.isLeader;
  return false;
}
