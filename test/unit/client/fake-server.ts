/**
 * A server of both streams in memory, built from the .proto files by proto-loader alone, so that it
 * shares no coder with the SDK. It follows the contract (SPEC section 4); what it shall do wrong is
 * set per test.
 */
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { formatTaskId, shardOfTaskId } from "../../../src/base/task-id.ts";

export interface WireTask {
  seq: number;
  command: string;
  payload: Buffer;
  priority: number;
  max_attempts: number;
  delay_seconds: number;
  idempotency_key: string;
  run_at: { seconds: number; nanos: number } | null;
}

export interface WireFrame {
  tasks: WireTask[];
  run_id: Buffer;
}

interface Ack {
  seq: number;
  ok: boolean;
  task_id?: string;
  code?: string;
  error_message?: string;
  duplicate?: boolean;
  not_leader?: object;
}

export interface HeldTask {
  id: string;
  command: string;
  payload: Buffer;
  attempts: number;
  lease_token: number;
}

// biome-ignore lint/suspicious/noExplicitAny: messages as proto-loader makes them
type Message = any;
type Call = grpc.ServerDuplexStream<Message, Message>;

const protoFolder = fileURLToPath(new URL("../../../proto/", import.meta.url));

export class FakeServer {
  /** Every create frame as it came. */
  readonly frames: WireFrame[] = [];
  /** Every settle and heartbeat of workers as it came, with the arm's name. */
  readonly settles: { kind: string; message: Message }[] = [];
  readonly hellos: Message[] = [];
  readonly readys: Message[] = [];
  /** Tasks made, by id. */
  readonly created = new Map<string, string>();
  readonly producers = new Set<Call>();
  readonly workers = new Set<Call>();
  /** Readys unanswered at the same time, at the most. */
  readysAtOnce = 0;
  shards = 1;
  nodes: Message[] = [];
  port = 0;
  /** Status with which every hello is answered; null = welcome. */
  refuseHello: { code: grpc.status; details: string } | null = null;
  /** Code for every create, or null. */
  refuseCreates: string | null = null;
  leaderHint: object | null = null;
  /** Code with which every Ready is answered, in CamelCase, or null; the stream goes on. */
  refuseReadys: string | null = null;
  /** Frames are recorded and applied, but not acknowledged. */
  holdAcks = false;
  /** Streams get no hello_ack. */
  isDeaf = false;
  /** Code for settles of a kind, by arm's name. */
  readonly refuseSettles = new Map<string, string>();
  /** More fields of every nack's ack. */
  nackAck: object = {};
  private readonly keys = new Map<string, string>();
  private readonly server = new grpc.Server();
  private readonly ready: { call: Call; count: number }[] = [];
  private readonly tasks: HeldTask[] = [];
  private readonly watchers: (() => void)[] = [];
  private nextId = 1;

  async listen(): Promise<string> {
    const definition = loadSync(["producerpb.proto", "workerpb.proto"], {
      keepCase: true,
      longs: Number,
      defaults: true,
      arrays: true,
      oneofs: true,
      includeDirs: [protoFolder],
    });
    const root: Message = grpc.loadPackageDefinition(definition);
    this.server.addService(root.producerpb.ProducerStream.service, {
      Stream: (call: Call) => this.serve(call, this.producers, (event) => this.create(call, event)),
    });
    this.server.addService(root.workerpb.WorkerStream.service, {
      Stream: (call: Call) => this.serve(call, this.workers, (event) => this.work(call, event)),
    });
    this.port = await new Promise<number>((resolve, reject) => {
      this.server.bindAsync(
        `127.0.0.1:${this.port}`,
        grpc.ServerCredentials.createInsecure(),
        (error, port) => (error ? reject(error) : resolve(port)),
      );
    });
    return `127.0.0.1:${this.port}`;
  }

  /** Cuts every stream as a broken connection does. */
  reset(): void {
    for (const call of [...this.producers, ...this.workers]) {
      call.emit("error", { code: grpc.status.UNAVAILABLE, details: "reset by the test" });
    }
    this.producers.clear();
    this.workers.clear();
    this.ready.length = 0;
  }

  close(): void {
    this.server.forceShutdown();
  }

  /** Makes a task ready, and hands it out if a worker waits. */
  addTask(command: string, payload: string, more: object = {}): HeldTask {
    const id = `01890a5d-ac96-774b-bcce-${(this.nextId++).toString(16).padStart(12, "0")}`;
    const held = { id, command, payload: Buffer.from(payload), attempts: 1, lease_token: 4096 };
    held.lease_token += this.nextId;
    this.tasks.push({ ...held, ...more });
    this.handOut();
    return held;
  }

  /** Tells every worker which nodes there are. */
  tellNodes(nodes: object[]): void {
    for (const call of [...this.workers, ...this.producers]) call.write({ cluster: { nodes } });
  }

  cancel(task: HeldTask): void {
    const cancel = { task_id: task.id, lease_token: task.lease_token };
    for (const call of this.workers) call.write({ cancel });
  }

  settlesOf(kind: string): Message[] {
    return this.settles.filter((settle) => settle.kind === kind).map(({ message }) => message);
  }

  /** Resolves when the condition holds; checked after every event that a client sends. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = (): boolean => {
        if (!condition()) return false;
        this.watchers.splice(this.watchers.indexOf(check), 1);
        resolve();
        return true;
      };
      this.watchers.push(check);
      check();
    });
  }

  private serve(call: Call, calls: Set<Call>, handle: (event: Message) => void): void {
    let isGreeted = false;
    call.on("data", (event: Message) => {
      if (!isGreeted) {
        isGreeted = true;
        this.greet(call, calls, event);
      } else {
        handle(event);
      }
      for (const watcher of [...this.watchers]) watcher();
    });
    const gone = (): void => {
      calls.delete(call);
      for (let i = this.ready.length - 1; i >= 0; i--) {
        if (this.ready[i]?.call === call) this.ready.splice(i, 1);
      }
      for (const watcher of [...this.watchers]) watcher();
    };
    call.on("end", () => {
      gone();
      call.end();
    });
    call.on("cancelled", gone);
  }

  private greet(call: Call, calls: Set<Call>, event: Message): void {
    this.hellos.push(event.hello);
    if (this.isDeaf) return;
    if (this.refuseHello !== null) {
      call.emit("error", this.refuseHello);
      return;
    }
    calls.add(call);
    const cluster = { node_id: "n1", shards: this.shards, nodes: this.nodes };
    call.write({ hello_ack: { tenant_id: "default", ...cluster } });
  }

  private create(call: Call, event: Message): void {
    const frame: WireFrame = event.create_batch;
    this.frames.push(frame);
    const acks = frame.tasks.map((task, i) => this.createOne(frame, task, i));
    if (!this.holdAcks) call.write({ create_ack_batch: { acks } });
  }

  private createOne(frame: WireFrame, task: WireTask, place: number): Ack {
    const { seq } = task;
    if (this.refuseCreates !== null) {
      const hint = this.leaderHint === null ? {} : { not_leader: this.leaderHint };
      return { seq, ok: false, code: this.refuseCreates, error_message: "refused", ...hint };
    }
    const content = `${task.command} ${task.payload.toString()}`;
    const keyed = this.keys.get(task.idempotency_key);
    const id = keyed ?? this.idOf(frame, place);
    const known = this.created.get(id);
    if (known !== undefined && known !== content) {
      return { seq, ok: false, code: "idempotency_conflict", error_message: "other request" };
    }
    this.created.set(id, content);
    if (task.idempotency_key !== "") this.keys.set(task.idempotency_key, id);
    return { seq, ok: true, task_id: id, duplicate: known !== undefined };
  }

  /** The id in the run; byte 15 keeps it in the shard of the first one (SPEC: run_id). */
  private idOf(frame: WireFrame, place: number): string {
    if (frame.run_id.length !== 16) return `keyed-${this.nextId++}`;
    const id = Uint8Array.from(frame.run_id);
    const shard = shardOfTaskId(id, 0, this.shards);
    id[14] = place;
    id[15] = 0;
    while (shardOfTaskId(id, 0, this.shards) !== shard) id[15] = (id[15] as number) + 1;
    return formatTaskId(id);
  }

  private work(call: Call, event: Message): void {
    if (event.event === "ready") {
      this.readys.push(event.ready);
      if (this.refuseReadys !== null) {
        this.refuseReady(call);
        return;
      }
      this.ready.push({ call, count: Math.max(event.ready.count, 1) });
      this.readysAtOnce = Math.max(this.readysAtOnce, this.ready.length);
      this.handOut();
      return;
    }
    const kind: string = event.event;
    this.settles.push({ kind, message: event[kind] });
    if (this.holdAcks) return;
    if (kind === "result_batch") {
      const acks = event.result_batch.results.map((item: Message) => this.settleAck(kind, item));
      call.write({ result_ack_batch: { acks } });
    } else {
      call.write({ [`${kind}_ack`]: this.settleAck(kind, event[kind]) });
    }
  }

  /** Answers the Readys that wait with the error of `refuseReadys`. */
  voidReadys(): void {
    for (const { call } of this.ready.splice(0)) this.refuseReady(call);
  }

  private refuseReady(call: Call): void {
    const code = this.refuseReadys;
    const hint = this.leaderHint === null ? {} : { not_leader: this.leaderHint };
    call.write({ error: { code, message: code, ...hint } });
  }

  private settleAck(kind: string, item: Message): object {
    const code = this.refuseSettles.get(kind);
    const more = kind === "nack" ? this.nackAck : {};
    if (code === undefined) return { task_id: item.task_id, ok: true, ...more };
    return { task_id: item.task_id, ok: false, code, error_message: "refused" };
  }

  private handOut(): void {
    while (this.tasks.length > 0 && this.ready.length > 0) {
      const { call, count } = this.ready.shift() as { call: Call; count: number };
      const tasks = this.tasks.splice(0, count);
      call.write(count === 1 ? { task: { task: tasks[0] } } : { task_batch: { tasks } });
    }
  }
}
