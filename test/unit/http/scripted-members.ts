/** A MembersAdmin for tests of the edge: it writes down every call. */
import type { MemberNames, MembersAdmin } from "../../../src/router/members.ts";
import type { NodeAddress } from "../../../src/transport/transport.ts";

export class ScriptedMembers implements MembersAdmin {
  readonly calls: unknown[][] = [];
  answer: () => Promise<MemberNames> = () => Promise.resolve({ voters: ["n1"], learners: ["n4"] });

  membership(): MemberNames {
    return { voters: ["n1"], learners: [] };
  }

  add(node: NodeAddress): Promise<MemberNames> {
    this.calls.push(["add", node]);
    return this.answer();
  }

  remove(nodeId: string): Promise<MemberNames> {
    this.calls.push(["remove", nodeId]);
    return this.answer();
  }

  transfer(shard: number | null, to: string | null): Promise<MemberNames> {
    this.calls.push(["transfer", shard, to]);
    return this.answer();
  }
}
