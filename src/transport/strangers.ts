/**
 * Accepted connections that have not proven the secret. Few are kept, of one address and of all;
 * the oldest makes room: whoever opens connections and says nothing keeps no node out.
 */
import { limits } from "../base/limits.ts";
import type { Connection } from "./connection.ts";

export class Strangers {
  /** The oldest first. */
  private readonly connections = new Set<Connection>();

  get size(): number {
    return this.connections.size;
  }

  add(connection: Connection): void {
    const { remote } = connection;
    this.makeRoom(limits.strangersPerAddress, (other) => other.remote === remote);
    this.makeRoom(limits.strangers, () => true);
    this.connections.add(connection);
  }

  /** It has proven the secret, or is gone. */
  remove(connection: Connection): void {
    this.connections.delete(connection);
  }

  closeAll(): void {
    for (const connection of this.connections) connection.close();
    this.connections.clear();
  }

  private makeRoom(most: number, counts: (other: Connection) => boolean): void {
    const rivals = [...this.connections].filter(counts);
    for (const oldest of rivals.slice(0, Math.max(0, rivals.length - most + 1))) {
      oldest.close();
      this.connections.delete(oldest);
    }
  }
}
