/**
 * A worker that was paused for longer than its lease goes on when another one has its task. The server
 * refuses what it then says; another system can refuse it, too, if it keeps the highest lease token.
 *
 *   node dist/client/examples/fencing.js
 */
import { createHttpClient, QuorumQError } from "quorumq/client";
import { http } from "./connection.ts";

const client = createHttpClient(http);

/** Stands for a file store: a write with an older token than the last one is refused. */
class Store {
  private token = 0n;
  private text = "";

  write(text: string, leaseToken: string): boolean {
    if (BigInt(leaseToken) < this.token) return false;
    this.token = BigInt(leaseToken);
    this.text = text;
    return true;
  }

  read(): string {
    return this.text;
  }
}

const store = new Store();
const queues = ["fenced"];
const { id } = await client.create("fenced", { text: "report" });

// The first worker falls asleep with the task in its hands …
const slow = await client.claim({ queues, leaseSeconds: 1, waitSeconds: 10 });
// … and when the lease is over, the task is delivered again.
const quick = await client.claim({ queues, leaseSeconds: 60, waitSeconds: 30 });
if (slow === null || quick === null) throw new Error("somebody else works on this queue");

console.log(`the second one writes: ${store.write("by the second", quick.leaseToken)}`);
console.log(`the first one writes: ${store.write("by the first", slow.leaseToken)}`);
console.log(`kept: ${store.read()}`);

try {
  await client.complete(id, { leaseToken: slow.leaseToken });
} catch (error) {
  if (!(error instanceof QuorumQError)) throw error;
  console.log(`the first one settles: ${error.code}`);
}
const { status } = await client.complete(id, { leaseToken: quick.leaseToken });
console.log(`the second one settles: ${status}`);
