/**
 * The client as it ships: from dist, so that what is measured is what users run. The types are
 * those of src.
 */
import type { Wire } from "../../src/api/proto.ts";
import type { createProducerStream } from "../../src/client/producer-stream.ts";
import type { createWorkerStream } from "../../src/client/worker-stream.ts";
import { distFolder } from "../paths.ts";

export interface ClientBuild {
  readonly createProducerStream: typeof createProducerStream;
  readonly createWorkerStream: typeof createWorkerStream;
  /** One for all streams of the process. */
  readonly wire: Wire;
}

export async function loadClientBuild(): Promise<ClientBuild> {
  const [client, proto] = (await Promise.all([
    import(new URL("client/index.js", distFolder).href),
    import(new URL("api/proto.js", distFolder).href),
  ])) as [typeof import("../../src/client/index.ts"), typeof import("../../src/api/proto.ts")];
  const { createProducerStream, createWorkerStream } = client;
  return { createProducerStream, createWorkerStream, wire: proto.loadWire() };
}
