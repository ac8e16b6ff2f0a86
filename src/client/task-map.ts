/** Payload types by queue, for applications that name them; without, any queue takes any payload. */

/**
 * The default: every queue's payload is unknown. An application's own map may be an interface:
 *
 * @example
 * interface Tasks {
 *   mail: { to: string };
 *   thumbnail: { image: string; width?: number };
 * }
 * const producer = createProducer<Tasks>({ endpoints });
 * await producer.enqueue("mail", { to: "a@b.c" });
 */
export interface AnyTasks {
  readonly [queue: string]: unknown;
}

/** Names of the map's queues. */
export type QueueOf<Tasks extends object> = keyof Tasks & string;

/** What `json()` gives: the payload, unless it was enqueued as bytes of any form. */
export type JsonOf<Payload> = Payload extends Uint8Array ? unknown : Payload;
