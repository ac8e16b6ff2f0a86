/**
 * Where a task is in its life, in the order of the values of the STATE column from 1 on, which is
 * also that of its number between nodes: append-only. The last four are its ends.
 */
export const taskStates = [
  "delayed",
  "ready",
  "leased",
  "completed",
  "failed",
  "dead",
  "canceled",
] as const;

export type TaskState = (typeof taskStates)[number];
