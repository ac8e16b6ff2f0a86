/**
 * Kinds of configuration values: how each is read from text (environment, flags) and from YAML,
 * and the rule it states when it refuses. Pure.
 */
import { isIP } from "node:net";

/** A value that breaks its key's rule; the text is the rule. */
export class ValueError extends Error {
  override readonly name = "ValueError";
}

export interface Kind<T> {
  /** What a value must be, for messages and for help: "an integer from 1 to 65535". */
  readonly rule: string;
  /** A flag of this kind may stand alone and then means true. */
  readonly isSwitch: boolean;
  /** @throws ValueError */
  fromText(text: string): T;
  /** @throws ValueError */
  fromYaml(value: unknown): T;
  /** The value as a person would write it. */
  show(value: T): string;
}

/** A listener or a peer: where to bind or to connect. IPv6 without brackets. */
export interface Address {
  readonly host: string;
  /** 1..65535 */
  readonly port: number;
}

export interface Peer extends Address {
  readonly id: string;
}

/** What a node tells clients: its URL, or its gRPC address. */
export interface Advertised {
  readonly id: string;
  readonly url: string;
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const hostPattern = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

function kind<T>(
  rule: string,
  fromText: (text: string) => T,
  rest: Partial<Pick<Kind<T>, "fromYaml" | "show" | "isSwitch">> = {},
): Kind<T> {
  const fromYaml = (value: unknown): T => {
    if (typeof value !== "string") throw new ValueError(`${rule}; numbers as text need quotes`);
    return fromText(value);
  };
  return { rule, isSwitch: false, fromText, fromYaml, show: String, ...rest };
}

/** Text of 0..max characters without control characters. */
export function text(max: number): Kind<string> {
  const rule = `text of at most ${max} characters without control characters`;
  return kind(rule, (given) => {
    const isClean = given.length <= max && !/\p{Cc}/u.test(given);
    if (!isClean) throw new ValueError(rule);
    return given;
  });
}

/** A node's name, or "" for none. */
export function nodeName(): Kind<string> {
  const rule = "1 to 64 letters, digits, dots, dashes or underscores";
  return kind(rule, (given) => {
    if (given !== "" && !idPattern.test(given)) throw new ValueError(rule);
    return given;
  });
}

export function integer(min: number, max: number): Kind<number> {
  return numeric(`an integer from ${min} to ${max}`, /^\d{1,16}$/, (value) => {
    return Number.isInteger(value) && value >= min && value <= max;
  });
}

/** Seconds, with a fraction if wanted. */
export function seconds(min: number, max: number): Kind<number> {
  return numeric(`seconds from ${min} to ${max}`, /^\d{1,12}(\.\d{1,6})?$/, (value) => {
    return value >= min && value <= max;
  });
}

function numeric(rule: string, form: RegExp, holds: (value: number) => boolean): Kind<number> {
  const check = (value: number): number => {
    if (!holds(value) || Object.is(value, -0)) throw new ValueError(rule);
    return value;
  };
  return kind(rule, (given) => check(form.test(given) ? Number(given) : Number.NaN), {
    fromYaml: (value) => check(typeof value === "number" ? value : Number.NaN),
  });
}

export function boolean(): Kind<boolean> {
  const rule = "true or false";
  return kind(
    rule,
    (given) => {
      const low = given.toLowerCase();
      if (low === "true" || low === "1") return true;
      if (low === "false" || low === "0") return false;
      throw new ValueError(rule);
    },
    {
      isSwitch: true,
      fromYaml: (value) => {
        if (typeof value !== "boolean") throw new ValueError(rule);
        return value;
      },
    },
  );
}

export function choice<T extends string>(...values: readonly T[]): Kind<T> {
  const rule = `one of ${values.join(", ")}`;
  return kind(rule, (given) => {
    const found = values.find((value) => value === given);
    if (found === undefined) throw new ValueError(rule);
    return found;
  });
}

export function hostName(): Kind<string> {
  const rule = "a host name or an IP address without a port";
  return kind(rule, (given) => parseHost(given, rule));
}

/** `host:port`; `:port` is every interface, as in codeQ. */
export function listener(): Kind<Address> {
  const rule = "host:port with a port from 1 to 65535";
  return kind(rule, (given) => parseAddress(given, rule), { show: formatAddress });
}

/** A listener, or `off` for none. */
export function optionalListener(): Kind<Address | null> {
  const rule = "host:port, or off";
  return kind<Address | null>(
    rule,
    (given) => (given === "off" ? null : parseAddress(given, rule)),
    {
      show: (value) => (value === null ? "off" : formatAddress(value)),
      // YAML 1.1 reads off as false
      fromYaml: (value) => {
        if (value === false) return null;
        if (typeof value !== "string") throw new ValueError(rule);
        return value === "off" ? null : parseAddress(value, rule);
      },
    },
  );
}

/** One or two listeners, separated by a comma. */
export function listeners(): Kind<readonly Address[]> {
  const rule = "host:port, or two of them";
  return list(rule, (item) => parseAddress(item, rule), formatAddress, { min: 1, max: 2 });
}

/** `id=host:port,…` */
export function peers(max: number): Kind<readonly Peer[]> {
  const rule = `at most ${max} of id=host:port, each id and each address once`;
  return list(
    rule,
    (item): Peer => {
      const { id, rest } = splitId(item, rule);
      const address = parseAddress(rest, rule);
      if (isUnspecified(address.host)) throw new ValueError(`${rule}; others cannot reach ${rest}`);
      return { id, ...address };
    },
    (peer) => `${peer.id}=${formatAddress(peer)}`,
    { min: 0, max, unique: [(peer) => peer.id, formatAddress] },
  );
}

/** `id=http://host:port,…` */
export function peerUrls(max: number): Kind<readonly Advertised[]> {
  const rule = `at most ${max} of id=http://host:port without a path, each id once`;
  return list(
    rule,
    (item): Advertised => {
      const { id, rest } = splitId(item, rule);
      return { id, url: parseUrl(rest, rule) };
    },
    (peer) => `${peer.id}=${peer.url}`,
    { min: 0, max, unique: [(peer) => peer.id, (peer) => peer.url] },
  );
}

/** Origins as browsers send them, `https://host` or `https://host:port`, or `*` for all. */
export function origins(max: number): Kind<readonly string[]> {
  const rule = `at most ${max} of https://host:port without a path, or *`;
  return list(
    rule,
    (item) => {
      if (item !== "*" && item !== parseUrl(item, rule)) throw new ValueError(rule);
      return item;
    },
    String,
    { min: 0, max },
  );
}

/** A JSON object, given as text; in YAML as a map or as text. */
export function jsonObject(): Kind<Readonly<Record<string, unknown>> | null> {
  const rule = "a JSON object";
  const check = (value: unknown): Readonly<Record<string, unknown>> => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ValueError(rule);
    }
    return value as Readonly<Record<string, unknown>>;
  };
  const fromText = (given: string) => check(parseJson(given, rule));
  return kind<Readonly<Record<string, unknown>> | null>(rule, fromText, {
    fromYaml: (value) => (typeof value === "string" ? fromText(value) : check(value)),
    show: (value) => (value === null ? "" : JSON.stringify(value)),
  });
}

/** @throws ValueError with the rule; never with the text, which may hold a secret */
export function parseJson(given: string, rule: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    throw new ValueError(`${rule} (it is not JSON)`);
  }
}

interface ListRules<T> {
  readonly min: number;
  readonly max: number;
  /** Properties in which no two items may be equal. */
  readonly unique?: readonly ((item: T) => string)[];
}

function list<T>(
  rule: string,
  parseItem: (item: string) => T,
  show: (item: T) => string,
  rules: ListRules<T>,
): Kind<readonly T[]> {
  const fromItems = (given: readonly string[]): readonly T[] => {
    if (given.length < rules.min || given.length > rules.max) throw new ValueError(rule);
    const items = given.map((item) => parseItem(item.trim()));
    for (const property of rules.unique ?? [show]) {
      if (new Set(items.map(property)).size < items.length) throw new ValueError(rule);
    }
    return items;
  };
  const fromText = (given: string) => fromItems(given === "" ? [] : given.split(","));
  return kind(rule, fromText, {
    show: (items) => items.map(show).join(","),
    fromYaml: (value) => {
      if (typeof value === "string") return fromText(value);
      if (!Array.isArray(value)) throw new ValueError(rule);
      return fromItems(
        value.map((item: unknown) => {
          if (typeof item !== "string") throw new ValueError(rule);
          return item;
        }),
      );
    },
  });
}

function splitId(item: string, rule: string): { readonly id: string; readonly rest: string } {
  const at = item.indexOf("=");
  const id = item.slice(0, Math.max(at, 0));
  if (!idPattern.test(id)) throw new ValueError(rule);
  return { id, rest: item.slice(at + 1) };
}

function parseHost(given: string, rule: string): string {
  const bare = given.startsWith("[") && given.endsWith("]") ? given.slice(1, -1) : given;
  const isIp6 = isIP(bare) === 6;
  if (isIp6 || (bare === given && hostPattern.test(given))) return bare;
  throw new ValueError(rule);
}

function parseAddress(given: string, rule: string): Address {
  const at = given.lastIndexOf(":");
  const host = given.slice(0, Math.max(at, 0));
  const port = /^\d{1,5}$/.test(given.slice(at + 1)) ? Number(given.slice(at + 1)) : 0;
  if (at < 0 || port < 1 || port > 65_535) throw new ValueError(rule);
  if (host === "") return { host: "0.0.0.0", port };
  const isBare6 = host.includes(":") && !host.startsWith("[");
  if (isBare6) throw new ValueError(`${rule}; IPv6 in brackets`);
  return { host: parseHost(host, rule), port };
}

function parseUrl(given: string, rule: string): string {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new ValueError(rule);
  }
  const isPlain = url.pathname === "/" && url.search === "" && url.hash === "";
  const isWeb = url.protocol === "http:" || url.protocol === "https:";
  const hasUser = url.username !== "" || url.password !== "";
  if (!isPlain || !isWeb || hasUser || url.port === "0") throw new ValueError(rule);
  if (isUnspecified(url.hostname)) throw new ValueError(`${rule}; others cannot reach ${given}`);
  return url.origin;
}

/** `host:port`, IPv6 in brackets. */
export function formatAddress(address: Address): string {
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Whether a host reaches this machine only: 127.0.0.0/8, ::1, localhost. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
  return bare === "localhost" || bare === "::1" || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(bare);
}

/** Whether a host means every interface: nobody can connect to it. */
export function isUnspecified(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "");
  return bare === "0.0.0.0" || /^[0:]+$/.test(bare);
}
