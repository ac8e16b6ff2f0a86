/** What the router measures: one observation per frame or request, not per task. */
import type { Counter, Histogram } from "../base/effects.ts";

export interface OperationMetrics {
  readonly tasks: Counter;
  readonly seconds: Histogram;
}

export interface RouterMetrics {
  readonly create: OperationMetrics;
  readonly claim: OperationMetrics;
  readonly settle: OperationMetrics;
}

const silent: OperationMetrics = {
  tasks: { add: () => undefined },
  seconds: { observe: () => undefined },
};

/** For routers that nobody watches. */
export const silentRouterMetrics: RouterMetrics = { create: silent, claim: silent, settle: silent };
