/**
 * Which filesystems a data directory may lie on (FAULTS S12). What is acknowledged must survive a
 * power cut, which memory does not, and fsync and locks must mean what they say, which they often
 * do not over a network.
 */

export type FilesystemKind = "supported" | "unknown" | "refused";

export interface FilesystemVerdict {
  readonly kind: FilesystemKind;
  /** Its name, or its number in hex. */
  readonly name: string;
}

/** f_type of statfs(2), from Linux's magic.h and the manual page. */
const known: ReadonlyMap<number, FilesystemVerdict> = new Map([
  [0xef53, { kind: "supported", name: "ext4" }],
  [0x5846_5342, { kind: "supported", name: "xfs" }],
  [0x9123_683e, { kind: "supported", name: "btrfs" }],
  [0x0102_1994, { kind: "refused", name: "tmpfs" }],
  [0x8584_58f6, { kind: "refused", name: "ramfs" }],
  [0x6969, { kind: "refused", name: "nfs" }],
  [0x517b, { kind: "refused", name: "smb" }],
  [0xff53_4d42, { kind: "refused", name: "cifs" }],
  [0xfe53_4d42, { kind: "refused", name: "smb2" }],
  [0x0102_1997, { kind: "refused", name: "9p" }],
  [0x00c3_6400, { kind: "refused", name: "ceph" }],
]);

/** What is to be thought of a filesystem; an unknown one deserves a warning. */
export function filesystemKind(type: number): FilesystemVerdict {
  return known.get(type) ?? { kind: "unknown", name: `0x${type.toString(16)}` };
}
