import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BodyShape, JsonReader, type RawJson } from "../../../src/api/json-reader.ts";
import { QueueError } from "../../../src/base/errors.ts";

const reader = new JsonReader(0x5eed);
const shape: BodyShape = {
  fields: new Set(["name", "count", "flag", "payload", "tasks", "commands"]),
  rawField: "payload",
  keepUnknown: true,
};

const parse = (text: string | Buffer, with_: BodyShape = shape) =>
  reader.parse(Buffer.from(text as string), with_);

function refusal(text: string | Buffer): { text: string; field: string | undefined } {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof QueueError, String(error));
    assert.equal(error.code, "invalid_argument");
    return { text: error.message, field: error.field };
  }
  assert.fail(`not refused: ${text}`);
}

const rawText = (raw: unknown) => {
  const { bytes, from, to } = raw as RawJson;
  return bytes.toString("utf8", from, to);
};

test("fields are built and the payload is the slice that was sent", () => {
  const body = parse(` {"name":"a\\u00e9\\n", "count":-12.5e1,"payload" : {"n": 1.0, "s":"é"} ,
    "flag":true,"commands":["a","b"]}\t`);
  assert.equal(rawText(body["payload"]), '{"n": 1.0, "s":"é"}');
  assert.equal(body["name"], "aé\n");
  assert.equal(body["count"], -125);
  assert.equal(body["flag"], true);
  assert.deepEqual(body["commands"], ["a", "b"]);
});

test("a list of objects has payloads of its own", () => {
  const body = parse('{"tasks":[{"payload":[1,[2]]},{"payload":"x","count":3},4,null]}');
  const tasks = body["tasks"] as Record<string, unknown>[];
  assert.equal(rawText(tasks[0]?.["payload"]), "[1,[2]]");
  assert.equal(rawText(tasks[1]?.["payload"]), '"x"');
  assert.equal(tasks[1]?.["count"], 3);
  assert.deepEqual(tasks.slice(2), [4, null]);
});

test("unknown fields are kept as null for the schema, or left out", () => {
  const text = '{"x":{"deep":[1,{"a":[]}]},"count":1}';
  assert.deepEqual(parse(text), { x: null, count: 1 });
  assert.deepEqual(parse(text, { ...shape, keepUnknown: false }), { count: 1 });
});

test("lists and objects where a field wants neither are not built", () => {
  assert.deepEqual(parse('{"name":{"a":1},"count":[1],"tasks":[{"name":{}},[1]]}'), {
    name: {},
    count: [1],
    tasks: [{ name: {} }, {}],
  });
});

const refused: readonly [name: string, body: string | Buffer, field?: string][] = [
  ["an empty body", ""],
  ["a list", "[]"],
  ["a number", "5"],
  ["null", "null"],
  ["cut off", '{"name":"a"'],
  ["a cut-off string", '{"name":"a'],
  ["trailing text", "{}x"],
  ["a trailing comma", '{"name":"a",}'],
  ["a comment", '{/**/"name":"a"}'],
  ["single quotes", "{'name':1}"],
  ["NaN", '{"count":NaN}'],
  ["Infinity", '{"count":Infinity}'],
  ["a leading zero", '{"count":01}'],
  ["a leading plus", '{"count":+1}'],
  ["a bare point", '{"count":1.}'],
  ["a control character in a string", '{"name":"a\nb"}'],
  ["an unknown escape", '{"name":"\\x"}'],
  ["a short escape", '{"name":"\\u12"}'],
  ["a byte order mark", "\ufeff{}"],
  ["invalid UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ["a surrogate in UTF-8", Buffer.from('{"name":"\xed\xa0\x80"}', "latin1")],
  ["half a surrogate pair in a field", '{"name":"\\ud800"}', "name"],
  ["a key twice", '{"name":"a","name":"a"}', "name"],
  ["a key twice, once escaped", '{"name":"a","\\u006eame":"a"}', "\\u006eame"],
  ["a key twice in a task", '{"tasks":[{},{"count":1,"count":1}]}', "tasks[1].count"],
  ["a key twice in a payload", '{"payload":{"a":[0,{"b":1,"c":2,"b":1}]}}', "payload.a[1].b"],
  ["__proto__", '{"__proto__":{}}', "__proto__"],
  ["__proto__ in a payload", '{"payload":[{"__proto__":1}]}', "payload[0].__proto__"],
  ["__proto__ with an escape", '{"payload":{"__pr\\u006fto__":1}}', "payload.__pr\\u006fto__"],
  ["__proto__ in an unknown field", '{"x":{"__proto__":1}}', "x.__proto__"],
  ["constructor", '{"constructor":1}', "constructor"],
  [
    "constructor.prototype in a payload",
    '{"payload":{"constructor":{"prototype":1}}}',
    "payload.constructor.prototype",
  ],
  ["minus zero", '{"count":-0}', "count"],
  ["minus zero with a fraction", '{"count":-0.0e5}', "count"],
  ["an integer beyond 2^53", '{"count":9007199254740993}', "count"],
  ["a number beyond doubles", '{"count":1e400}', "count"],
  ["a number beyond doubles in a payload", '{"payload":[1,-1e400]}', "payload[1]"],
  ["a long fraction with an exponent", `{"payload":${"9".repeat(300)}.5e9}`, "payload"],
  ["a long number in a payload", `{"payload":${"9".repeat(400)}}`, "payload"],
  ["65 levels in a payload", `{"payload":${"[".repeat(65)}${"]".repeat(65)}}`, "payload"],
  ["10,000 levels", `{"payload":${"[".repeat(10_000)}`, "payload"],
  ["200,000 levels of objects", '{"a":'.repeat(200_000), "a"],
  ["65 fields", `{${Array.from({ length: 65 }, (_, i) => `"f${i}":1`).join()}}`, "f64"],
  ["1,001 items", `{"tasks":[${"1,".repeat(1000)}1]}`, "tasks"],
];

for (const [name, body, field] of refused) {
  test(`refuses ${name}${field === undefined ? "" : ` and names ${field}`}`, () => {
    const error = refusal(body);
    assert.equal(error.field, field);
    assert.ok(error.text.length < 300, error.text);
  });
}

test("payloads keep what fields may not have: -0, large integers, half pairs, a constructor", () => {
  const text =
    '[-0,9007199254740993,"\\ud800",{"constructor":"F1","prototype":1,"a":{"a":1}},1e308,0e999,1e-999]';
  assert.equal(rawText(parse(`{"payload":${text}}`)["payload"]), text);
  const deep = "[".repeat(64) + "]".repeat(64);
  const [task] = parse(`{"tasks":[{"payload":${deep}}]}`)["tasks"] as Record<string, unknown>[];
  assert.equal(rawText(task?.["payload"]), deep);
});

test("objects with thousands of keys are told apart, and a late repetition is found", () => {
  const keys = Array.from({ length: 5000 }, (_, i) => `"key-${i}":{"k":${i}}`);
  assert.ok(parse(`{"payload":{${keys.join()}}}`)["payload"]);
  assert.equal(refusal(`{"payload":{${keys.join()},"key-17":0}}`).field, "payload.key-17");
});

test("every JSON value is taken as a payload, and found to be JSON", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), fc.nat(3), (json, indent) => {
      fc.pre(!json.includes("__proto__"));
      const text = JSON.stringify(JSON.parse(json), null, indent);
      assert.equal(rawText(parse(`{"payload":${text}}`)["payload"]), text);
      const bytes = Buffer.from(`x${text}x`);
      assert.equal(reader.isJson(bytes, 1, bytes.length - 1), true);
    }),
  );
});

test("isJson agrees with the built-in parser on damaged texts", () => {
  const damaged = fc
    .tuple(
      fc.json({ maxDepth: 4 }),
      fc.nat(),
      fc.constantFrom(...'"\\{}[],:0-.eE tu\n\u0001x'),
      fc.boolean(),
    )
    .map(([json, at, char, insert]) => {
      const place = at % (json.length + 1);
      return json.slice(0, place) + char + json.slice(place + (insert ? 0 : 1));
    });
  fc.assert(
    fc.property(damaged, (text) => {
      const bytes = Buffer.from(text);
      let expected = true;
      try {
        JSON.parse(bytes.toString());
      } catch {
        expected = false;
      }
      assert.equal(reader.isJson(bytes, 0, bytes.length), expected, text);
    }),
    { numRuns: 500 },
  );
});

test("isJson is about bytes: empty, binary and deep ones", () => {
  const ask = (bytes: Buffer) => reader.isJson(bytes, 0, bytes.length);
  assert.equal(ask(Buffer.alloc(0)), false);
  assert.equal(ask(Buffer.from([0x22, 0xff, 0x22])), false);
  assert.equal(ask(Buffer.from(`${"[".repeat(500)}${"]".repeat(500)}`)), true);
  assert.equal(ask(Buffer.from("[".repeat(500))), false);
  assert.equal(ask(Buffer.from('{"a":1,"a":2,"__proto__":1e400}')), true);
});

/** Bodies of 1 MiB that cost most per byte. */
const hostile: readonly [name: string, piece: string, open: string, close: string][] = [
  ["unknown numbers", "1,", '{"x":[', "1]}"],
  ["small objects", '{"a":1,"b":2},', '{"payload":[', "1]}"],
  [
    "objects of 33 keys",
    `{${Array.from({ length: 33 }, (_, i) => `"${i}":1`).join()}},`,
    '{"payload":[',
    "1]}",
  ],
  ["escaped keys", '{"\\n":1},', '{"payload":[', "1]}"],
  ["empty lists", "[],", '{"x":[', "[]]}"],
  ["a wide list of tasks", "{},", '{"tasks":[', "{}]}"],
  ["exponents", "1e1,", '{"payload":[', "1]}"],
  ["one long string", "a", '{"payload":"', '"}'],
];

/** The least time of some rounds, of two ways in turn, so that other work disturbs both. */
function leastMs(rounds: number, ...ways: readonly (() => void)[]): number[] {
  const least = ways.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; round++) {
    for (const [i, way] of ways.entries()) {
      const started = performance.now();
      way();
      least[i] = Math.min(least[i] ?? 0, performance.now() - started);
    }
  }
  return least;
}

for (const [name, piece, open, close] of hostile) {
  test(`1 MiB of ${name} is read in a few ms`, () => {
    const bytes = Buffer.from(open + piece.repeat(Math.floor((1 << 20) / piece.length)) + close);
    const own = () => {
      try {
        reader.parse(bytes, shape);
      } catch (error) {
        assert.ok(error instanceof QueueError);
      }
    };
    const [ms = 0, builtIn = 0] = leastMs(10, own, () => JSON.parse(bytes.toString()));
    // 2 to 11 ms where nothing else runs; on a busy machine the built-in parser is the measure.
    assert.ok(
      ms < Math.max(20, 5 * builtIn),
      `${ms.toFixed(1)} ms, built in ${builtIn.toFixed(1)}`,
    );
  });
}

test("90,000 keys in one object cost what they cost in 1,000 objects", () => {
  const keys = Array.from({ length: 90_000 }, (_, i) => `"${i}":1`);
  const one = Buffer.from(`{"payload":{${keys.join()}}}`);
  const many = Buffer.from(
    `{"payload":[${"x".repeat(1000).replace(/x/gu, () => `{${keys.splice(0, 90).join()}},`)}1]}`,
  );
  const [oneMs = 0, manyMs = 0] = leastMs(
    8,
    () => reader.parse(one, shape),
    () => reader.parse(many, shape),
  );
  assert.ok(oneMs < 5 * manyMs + 5, `${oneMs.toFixed(1)} ms against ${manyMs.toFixed(1)} ms`);
});
