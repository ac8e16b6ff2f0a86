/** All claims that wait on this node, by tenant and by the queues that they want. */
import { limits } from "../base/limits.ts";
import { earlier, type Waiting, WaitList } from "./wait-list.ts";

export interface Listed<W extends Waiting> extends Waiting {
  readonly request: { readonly tenant: string; readonly queues: readonly string[] | null };
  /** Where it stands while it waits. */
  lists: WaitList<W>[];
}

interface TenantLists<W extends Waiting> {
  readonly any: WaitList<W>;
  readonly byQueue: Map<string, WaitList<W>>;
}

export class WaitLists<W extends Listed<W>> {
  /** Claims that wait. */
  count = 0;
  /** Places in lists that they take, and lists that they keep alive. */
  private places = 0;
  private lists = 0;
  private readonly tenants = new Map<string, TenantLists<W>>();

  /** Whether a further claim may wait: names of queues come from outside, a thousand in one claim. */
  hasRoom({ request: { queues } }: W): boolean {
    const names = queues?.length ?? 1;
    return (
      this.count < limits.waitingClaims &&
      this.places + names <= limits.waitingPlaces &&
      this.lists + names <= limits.waitingQueues
    );
  }

  add(claim: W): void {
    const { tenant, queues } = claim.request;
    const lists = this.of(tenant);
    const wanted = queues ? queues.map((name) => this.listOf(lists, name)) : [lists.any];
    claim.lists = wanted;
    for (const list of wanted) list.add(claim);
    this.count++;
    this.places += wanted.length;
  }

  /** The claim waits no longer; its state says so already. */
  remove(claim: W): void {
    const { tenant, queues } = claim.request;
    this.count--;
    this.places -= claim.lists.length;
    for (const list of claim.lists) list.left();
    claim.lists = [];
    if (!queues) return;
    // An emptied list is not kept.
    const { byQueue } = this.of(tenant);
    for (const name of queues) {
      if (byQueue.get(name)?.live !== 0) continue;
      byQueue.delete(name);
      this.lists--;
    }
  }

  /**
   * The claim that has waited longest for this queue.
   * @param named - only claims that name it, none that wait for any queue
   */
  first(tenant: string, queue: string, named: boolean): W | undefined {
    const lists = this.tenants.get(tenant);
    const first = lists?.byQueue.get(queue)?.first();
    return named ? first : earlier(first, lists?.any.first());
  }

  /** All of them; each is to be removed before the next is asked for. */
  *drained(): Iterable<W> {
    for (const lists of this.tenants.values()) {
      for (const list of [lists.any, ...lists.byQueue.values()]) {
        for (let claim = list.first(); claim; claim = list.first()) yield claim;
      }
    }
  }

  private of(tenant: string): TenantLists<W> {
    let lists = this.tenants.get(tenant);
    if (!lists) {
      lists = { any: new WaitList(), byQueue: new Map() };
      this.tenants.set(tenant, lists);
    }
    return lists;
  }

  private listOf({ byQueue }: TenantLists<W>, name: string): WaitList<W> {
    let list = byQueue.get(name);
    if (!list) {
      list = new WaitList();
      byQueue.set(name, list);
      this.lists++;
    }
    return list;
  }
}
