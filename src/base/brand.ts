/**
 * Branded primitives: numbers and strings that must not be mixed up.
 * The brand exists in the type checker only; at run time these are plain values.
 */
import { assert } from "./assert.ts";

declare const brand: unique symbol;
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** Election period number; only grows. 0 = before the first election. */
export type Term = Brand<number, "Term">;
/** Position in a shard's log, 1-based; 0 = before the first entry. */
export type LogIndex = Brand<number, "LogIndex">;
/** A replica's id in Raft: the random integer made with its data directory. 0 = none. */
export type StoreId = Brand<number, "StoreId">;
/** One slice of the task-id space, 0..255. */
export type ShardId = Brand<number, "ShardId">;

export function toTerm(value: number): Term {
  assert(Number.isSafeInteger(value) && value >= 0, "term", value);
  return value as Term;
}

export function toLogIndex(value: number): LogIndex {
  assert(Number.isSafeInteger(value) && value >= 0, "log index", value);
  return value as LogIndex;
}

export function toStoreId(value: number): StoreId {
  assert(Number.isSafeInteger(value) && value >= 0, "store id", value);
  return value as StoreId;
}

export function toShardId(value: number): ShardId {
  assert(Number.isInteger(value) && value >= 0 && value <= 255, "shard id", value);
  return value as ShardId;
}
