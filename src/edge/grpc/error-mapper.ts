/** How a stream ends: gRPC statuses from the error table, and the protocol's own. */
import { status } from "@grpc/grpc-js";
import { grpcErrorText, grpcStatusOf } from "../../api/wire-errors.ts";
import type { QueueError } from "../../base/errors.ts";

export interface EndStatus {
  /** A number of gRPC's status codes. */
  readonly code: number;
  readonly details: string;
}

export const endedWell: EndStatus = { code: status.OK, details: "" };

/** The protocol itself was broken: no Hello, a message that is none. */
export function brokenProtocol(
  code: "FAILED_PRECONDITION" | "INVALID_ARGUMENT" | "DEADLINE_EXCEEDED" | "RESOURCE_EXHAUSTED",
  details: string,
): EndStatus {
  return { code: status[code], details };
}

/** The status with which a stream ends for this error. */
export function statusOf(error: QueueError): EndStatus {
  return { code: grpcStatusOf(error.code), details: grpcErrorText(error) };
}

/**
 * The status with which a stream ends whose Ready failed: a node that does not lead, or is not
 * ready to, says FAILED_PRECONDITION (SPEC sections 4 and 7), whatever the table says of calls.
 */
export function statusOfReady(error: QueueError): EndStatus {
  const code = error.code === "no_leader" ? status.FAILED_PRECONDITION : grpcStatusOf(error.code);
  return { code, details: grpcErrorText(error) };
}
