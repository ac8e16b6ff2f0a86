import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { HttpConnection } from "../../../bench/load/http-connection.ts";

/** Answers each request with the pieces that stand in its path, one write per piece. */
let server: Server;
let url = "";
const requests: string[] = [];
const sockets = new Set<Socket>();
let script: readonly string[][] = [];

before(async () => {
  server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("data", (data) => {
      requests.push(data.toString("latin1"));
      const [pieces = [], ...rest] = script;
      script = rest;
      writeApart(socket, pieces);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  url = `http://127.0.0.1:${address.port}`;
});

after(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

/** Each piece in a turn of its own, so that it arrives alone. */
function writeApart(socket: Socket, pieces: readonly string[]): void {
  const [piece, ...rest] = pieces;
  if (piece === undefined) return;
  socket.write(piece, "latin1", () => setImmediate(() => writeApart(socket, rest)));
}

function post(connection: HttpConnection, path: string, body: string) {
  return new Promise<{ status: number; body: string }>((resolve) => {
    connection.post(path, body, (status, answer) => {
      resolve({ status, body: answer.toString("latin1") });
    });
  });
}

test("reads answers that come in pieces, one after the other", async () => {
  const connection = new HttpConnection(url, "secret");
  script = [
    ["HTTP/1.1 202 Accepted\r\nCont", "ent-Length: 5\r\n\r", "\nhe", "llo"],
    ["HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"],
  ];
  assert.deepEqual(await post(connection, "/a", "{}"), { status: 202, body: "hello" });
  assert.deepEqual(await post(connection, "/b", ""), { status: 204, body: "" });
  assert.match(requests[0] ?? "", /^POST \/a HTTP\/1.1\r\n/);
  assert.match(requests[0] ?? "", /\r\nauthorization: Bearer secret\r\n/);
  assert.match(requests[0] ?? "", /\r\ncontent-length: 2\r\n\r\n\{\}$/);
  connection.close();
});

test("opens a new connection when the server closes one", async () => {
  const connection = new HttpConnection(url, "secret");
  const socketsBefore = sockets.size;
  script = [
    ["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"],
  ];
  assert.equal((await post(connection, "/a", "")).body, "a");
  assert.equal((await post(connection, "/b", "")).body, "b");
  assert.equal(sockets.size - socketsBefore, 2);
  connection.close();
});

test("takes one request at a time", () => {
  const connection = new HttpConnection(url, "secret");
  connection.post("/a", "", () => undefined);
  assert.throws(() => connection.post("/b", "", () => undefined), /one request at a time/);
  connection.close();
});
