/**
 * Full cycles over HTTP without batch routes: each client creates a task, claims one and sends its
 * result, one request after the other on a connection of its own.
 */
import { type Answered, HttpConnection } from "./http-connection.ts";
import { Meter } from "./meter.ts";
import { createPayload, numberOf, setNumber } from "./payload.ts";
import type { HttpPlan, LoadEvent, LoadResult } from "./protocol.ts";

const samplesMax = 100;
const hopsMax = 3;

export async function runHttp(
  plan: HttpPlan,
  say: (event: LoadEvent) => void,
): Promise<LoadResult> {
  const meter = new Meter(say);
  const run: Run = { meter, plan, isCreating: true };
  const clients = Array.from({ length: plan.clients }, (_, i) => new HttpClient(run, i));
  for (const client of clients) client.create();
  await meter.measure(plan);
  run.isCreating = false;
  await meter.drain(() => clients.every((client) => client.isIdle));
  for (const client of clients) client.close();
  return meter.result();
}

interface Run {
  readonly meter: Meter;
  readonly plan: HttpPlan;
  isCreating: boolean;
}

/** Creates, claims, completes, and again. A claim that finds nothing is made again. */
class HttpClient {
  isIdle = false;
  private readonly run: Run;
  private readonly connection: Route;
  private readonly payload: Buffer;
  private readonly claimBody: string;
  private created = 0;
  private claimed = 0;
  private sentUs = 0;

  constructor(run: Run, place: number) {
    const { target, urls, queue, payloadBytes } = run.plan;
    this.run = run;
    this.connection = new Route(urls[place % urls.length] as string, target.token);
    this.payload = createPayload(payloadBytes);
    this.claimBody = JSON.stringify({ commands: [queue] });
  }

  create(): void {
    const { meter, plan, isCreating } = this.run;
    if (!isCreating) {
      this.isIdle = true;
      return;
    }
    this.sentUs = meter.nowUs();
    this.created = meter.ledger.send(1, this.sentUs);
    setNumber(this.payload, this.created);
    const body = `{"command":"${plan.queue}","payload":${this.payload.toString("latin1")}}`;
    this.connection.post("/v1/tasks", body, (status, answer) => {
      expect(status === 202, status, answer);
      meter.createAck.record((meter.nowUs() - this.sentUs) >>> 0);
      meter.ledger.createAcked(this.created);
      if (meter.samples.length < samplesMax && this.created % 101 === 0) {
        meter.samples.push({
          id: textField(answer.toString("latin1"), '"id":"'),
          task: this.created,
        });
      }
      this.claim();
    });
  }

  close(): void {
    this.connection.close();
  }

  private claim(): void {
    this.connection.post("/v1/tasks/claim", this.claimBody, (status, answer) => {
      // another client took it; its own will be there for this one
      if (status === 204) return this.claim();
      expect(status === 200, status, answer);
      const text = answer.toString("latin1");
      const at = text.indexOf('"payload":') + '"payload":'.length;
      this.claimed = numberOf(answer, at);
      this.run.meter.ledger.delivered(this.claimed);
      this.complete(textField(text, '"id":"'), textField(text, '"leaseToken":"'));
    });
  }

  private complete(id: string, leaseToken: string): void {
    const { meter } = this.run;
    const body = `{"status":"COMPLETED","leaseToken":"${leaseToken}"}`;
    this.connection.post(`/v1/tasks/${id}/result`, body, (status, answer) => {
      expect(status === 200, status, answer);
      meter.ledger.resultAcked(this.claimed, meter.nowUs());
      this.create();
    });
  }
}

/** A connection to a node, and to each node that it has sent requests to. */
class Route {
  private readonly url: string;
  private readonly token: string;
  private readonly connections = new Map<string, HttpConnection>();

  constructor(url: string, token: string) {
    this.url = url;
    this.token = token;
  }

  post(path: string, body: string, answered: Answered): void {
    this.send(this.url, { path, body, answered, hops: 0 });
  }

  close(): void {
    for (const connection of this.connections.values()) connection.close();
  }

  private send(origin: string, request: Request): void {
    let connection = this.connections.get(origin);
    if (connection === undefined) {
      connection = new HttpConnection(origin, this.token);
      this.connections.set(origin, connection);
    }
    connection.post(request.path, request.body, (status, answer, location) => {
      if (location === "" || request.hops === hopsMax) request.answered(status, answer, location);
      else this.send(new URL(location).origin, { ...request, hops: request.hops + 1 });
    });
  }
}

interface Request {
  readonly path: string;
  readonly body: string;
  readonly answered: Answered;
  readonly hops: number;
}

/** The text after `name` up to the next quote. */
function textField(json: string, name: string): string {
  const from = json.indexOf(name) + name.length;
  return json.slice(from, json.indexOf('"', from));
}

function expect(isRight: boolean, status: number, answer: Buffer): void {
  if (!isRight) throw new Error(`answer ${status}: ${answer.toString("latin1")}`);
}
