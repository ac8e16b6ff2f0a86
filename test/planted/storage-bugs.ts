/** Bugs of stores, their recovery, and states that are sent whole (see bugs.ts). */
import type { Planted } from "./planted.ts";

const shard = "src/shard";

export const storageBugs: readonly Planted[] = [
  {
    id: "B11",
    what: "a replica whose log has lost its end goes on as if it had not",
    file: `${shard}/recovery.ts`,
    find: "  if (!holdsFence(synced, log.term(last), last)) {\n",
    put: "  if (!holdsFence(synced, log.term(last), last) && last < 0) {\n",
    world: "node",
  },
  {
    id: "B27",
    what: "a transfer of the state that was given up hands it over all the same",
    file: `${shard}/snapshot-receiver.ts`,
    find: "    if (this.transfer !== transfer || this.stopped) return;\n    this.transfer = null;\n",
    put: "    if (this.stopped) return;\n    this.transfer = null;\n",
    also: [
      {
        file: `${shard}/snapshot-receiver.ts`,
        find: "    transfer.check.abort();\n",
        put: "",
      },
    ],
  },
  {
    id: "B29",
    what: "a received state keeps the beginning of the log that it had where it came from",
    file: `${shard}/prepare-store.ts`,
    find: "encodeLogStart({ ...start, ...cut })",
    put: "encodeLogStart({ ...cut, ...start })",
  },
  {
    id: "B30",
    what: "a received state comes into force while it is still prepared",
    file: `${shard}/snapshot-receiver.ts`,
    find: "    await deps.prepare(path, offer.point, check.signal);\n",
    put: "    void deps.prepare(path, offer.point, check.signal).catch(() => undefined);\n",
  },
  {
    id: "B34",
    what: "records that the store leaves out of a damaged log are not missed",
    file: "src/storage/store-log.ts",
    find: "    if (match !== null) {\n",
    put: "    if (match !== null && match.index < 0) {\n",
    world: "node",
  },
  {
    id: "B34b",
    what: "a record is taken whatever its checksum",
    file: "src/storage/record.ts",
    find: "  if (record.readUInt32BE(end) !== crc32c(record, 0, end, crc32c(key))) {\n",
    put: "  if (record.readUInt32BE(end) < 0) {\n",
    world: "node",
  },
];
