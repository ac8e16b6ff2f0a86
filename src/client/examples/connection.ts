/**
 * Where the examples find their server: a node on this machine, or what the environment names, with
 * the same variables as the command line.
 */

const token = process.env["QUORUMQ_TOKEN"];

/** For producers and workers, over gRPC. */
export const grpc = { endpoints: process.env["QUORUMQ_GRPC"] ?? "127.0.0.1:9092", token };

/** For `createHttpClient`. */
export const http = { endpoints: process.env["QUORUMQ_HTTP"] ?? "http://127.0.0.1:8080", token };
