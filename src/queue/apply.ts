/**
 * needs and apply: the one door to the state. `needs` names what a command must have in memory;
 * `apply` carries it out and asserts that nothing is missing. Pure, synchronous, deterministic: the
 * same log gives the same state on every replica, whatever happens to be loaded.
 */
import { assert, unreachable } from "../base/assert.ts";
import type { LogIndex } from "../base/brand.ts";
import { limits } from "../base/limits.ts";
import { cancel, cancelNeeds, pause, purge, purgeNeeds, redrive, redriveNeeds } from "./admin.ts";
import { type ClaimPlan, claim, planClaim } from "./claim.ts";
import type { Command, CommandResult } from "./command.ts";
import { create, createNeeds } from "./create.ts";
import { type ExpirePlan, expire, planExpire } from "./expire.ts";
import type { Need } from "./needs.ts";
import type { Run } from "./run.ts";
import { settle, settleNeeds } from "./settle.ts";
import type { State } from "./state.ts";

/** Log indexes that `raiseTokens` leaves out: more than a lost end of a log can hold. */
const tokenOffsetStep = 2 ** 24;

/** Starts an entry: queue time goes on to the leader's, never back. */
export function enterEntry(state: State, leaderTimeMs: number): void {
  if (leaderTimeMs > state.counters.timeMs) state.counters.timeMs = leaderTimeMs;
}

/** Applies commands one after another: ask `needs` until it is null, then `apply`. */
export class Applier {
  private readonly state: State;
  private planned: Command | null = null;
  /** Of a create. */
  private createKey = "";
  /** Of a settle, by group: the same keys are not looked up twice. */
  private readonly settleRuns: (Run | undefined)[] = [];
  private claimPlan: ClaimPlan | null = null;
  private expirePlan: ExpirePlan | null = null;

  constructor(state: State) {
    this.state = state;
  }

  /** What must be loaded before this command; null = nothing. */
  needs(command: Command): Need[] | null {
    if (this.planned !== command) this.begin(command);
    const needs = this.findNeeds(command);
    if (needs) this.state.overlay.hold();
    return needs;
  }

  private begin(command: Command): void {
    this.planned = command;
    if (command.kind === "create") this.createKey = command.key.toString("latin1");
  }

  private findNeeds(command: Command): Need[] | null {
    const { state } = this;
    switch (command.kind) {
      case "create":
        return createNeeds(state, this.createKey);
      case "claim":
        this.claimPlan = planClaim(state, command);
        return someNeeds(this.claimPlan.needs);
      case "settle":
        this.settleRuns.length = 0;
        return settleNeeds(state, command, this.settleRuns);
      case "cancel":
        return cancelNeeds(state, command);
      case "expire":
        this.expirePlan = planExpire(state, command);
        return someNeeds(this.expirePlan.needs);
      case "redrive":
        return redriveNeeds(state, command);
      case "purge":
        return purgeNeeds(state, command);
      case "pause":
      case "configure":
      case "raiseTokens":
        return null;
      default:
        return unreachable(command);
    }
  }

  /**
   * Carries out a command whose `needs` have just been null.
   * @param index - log index of its entry
   * @param place - its place in the entry
   */
  apply(command: Command, index: LogIndex, place: number): CommandResult {
    assert(this.planned === command, "apply follows needs", command.kind);
    this.planned = null;
    const result = this.carryOut(command, index, place);
    const { state } = this;
    state.overlay.release();
    if (this.settleRuns.length > 0) this.settleRuns.length = 0;
    if (state.absent.size > 0) state.absent.clear();
    if (state.loadedRows.size > 0) state.loadedRows.clear();
    if (state.loadedRanges.size > 0) state.loadedRanges.clear();
    return result;
  }

  private carryOut(command: Command, index: LogIndex, place: number): CommandResult {
    const { state } = this;
    switch (command.kind) {
      case "create":
        return create(state, command, this.createKey);
      case "claim":
        return claim(state, this.claimPlan as ClaimPlan, leaseToken(state, index, place));
      case "settle":
        return settle(state, command, this.settleRuns);
      case "cancel":
        return cancel(state, command);
      case "expire":
        return expire(state, this.expirePlan as ExpirePlan);
      case "redrive":
        return redrive(state, command);
      case "purge":
        return purge(state, command);
      case "pause":
        return pause(state, command);
      case "configure":
        state.settings = command.settings;
        return { kind: "done" };
      case "raiseTokens":
        state.counters.tokenOffset += tokenOffsetStep;
        return { kind: "done" };
      default:
        return unreachable(command);
    }
  }
}

function someNeeds(needs: Need[]): Need[] | null {
  return needs.length > 0 ? needs : null;
}

/** Grows with every claim, across leaders and restarts; below 2^53. */
function leaseToken(state: State, index: LogIndex, place: number): number {
  const token = (index + state.counters.tokenOffset) * limits.entryCommands + place;
  assert(Number.isSafeInteger(token), "lease token", token);
  return token;
}
