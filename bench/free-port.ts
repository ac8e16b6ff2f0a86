/** Loopback ports for servers that the bench starts. */
import { once } from "node:events";
import { createServer } from "node:net";

/** Below the range that the kernel takes for outgoing connections: those would come between. */
const firstPort = 12_000;
const lastPort = 32_000;
const given = new Set<number>();

/** A port that was free a moment ago, and that nobody else in this process was given. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = firstPort + Math.floor(Math.random() * (lastPort - firstPort));
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
