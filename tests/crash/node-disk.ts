// Node's file functions on disks that can be cut off: paths below ROOT lie on them, all others
// where they always did.

import fs from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import type { Disk, OpenFile, Problem } from './disk';

const ROOT = '/disk-that-can-be-cut-off';
const disks = new Map<string, Disk>();
let mounted = 0;

/** Mounts a disk. Returns its path. */
export function mount(disk: Disk): string {
  if (mounted === 0) patch();
  const name = String(mounted++);
  disks.set(name, disk);
  return `${ROOT}/${name}`;
}

export const unmountAll = () => disks.clear();

/** Undefined for a path on the machine's own disk. */
function locate(path: unknown): { disk: Disk; inside: string } | undefined {
  if (typeof path !== 'string' || !path.startsWith(`${ROOT}/`)) return undefined;
  const [name, ...rest] = path.slice(ROOT.length + 1).split('/');
  const disk = disks.get(name);
  if (!disk) throw new Error(`${path}: this disk is gone.`);
  return { disk, inside: rest.join('/') };
}

const fail = (code: Problem, path: string): never => {
  throw Object.assign(new Error(`${code}: ${path}`), { code });
};
const bytesOf = (data: Uint8Array | string) =>
  typeof data === 'string' ? new TextEncoder().encode(data) : data;

class Handle {
  #at = 0;

  constructor(
    private readonly file: OpenFile,
    private readonly appends: boolean,
  ) {}

  async read(into: Uint8Array, offset: number, length: number, at: number) {
    const bytes = this.file.read(at, at + length);
    into.set(bytes, offset);
    return { bytesRead: bytes.length };
  }

  async write(bytes: Uint8Array, offset: number, length: number, at: number) {
    this.file.write(at, bytes.subarray(offset, offset + length));
    return { bytesWritten: length };
  }

  async writeFile(data: Uint8Array | string) {
    const bytes = bytesOf(data);
    this.file.write(this.appends ? this.file.size : this.#at, bytes);
    this.#at += bytes.length;
  }

  appendFile = this.writeFile;
  stat = async () => ({ size: this.file.size });
  truncate = async (size = 0) => this.file.truncate(size);
  sync = async () => this.file.flush();
  datasync = this.sync;
  close = async () => {};
}

type Call = (...args: never[]) => unknown;
type Place = NonNullable<ReturnType<typeof locate>>;

const calls: Record<string, (place: Place, ...args: never[]) => unknown> = {
  open({ disk, inside }, flags = 'r') {
    if (disk.isFolder(inside)) {
      return { sync: async () => disk.flushFolder(inside), close: async () => {} };
    }
    const file = disk.open(inside, flags !== 'r' && flags !== 'r+');
    if (flags === 'w') file.truncate(0);
    return new Handle(file, String(flags).startsWith('a'));
  },
  mkdir: ({ disk, inside }) => disk.makeFolder(inside),
  readdir: ({ disk, inside }) =>
    disk.list(inside).map(({ name, isFolder }) => ({ name, isDirectory: () => isFolder })),
  rename({ disk, inside }, to: string) {
    disk.rename(inside, locate(to)?.inside ?? fail('ENOENT', to));
  },
  rm({ disk, inside }) {
    if (disk.exists(inside)) disk.remove(inside);
  },
  stat({ disk, inside }) {
    if (!disk.exists(inside)) fail('ENOENT', inside);
    const isFolder = disk.isFolder(inside);
    return {
      isDirectory: () => isFolder,
      size: isFolder ? 0 : disk.open(inside, false).size,
    };
  },
  readFile: ({ disk, inside }) => disk.open(inside, false).read(),
  statfs: () => ({ bavail: 2 ** 30, bsize: 1 }),
};

function patch(): void {
  const all = promises as unknown as Record<string, Call>;
  for (const [name, call] of Object.entries(calls)) {
    const own = all[name];
    all[name] = async (path: never, ...args: never[]) => {
      const place = locate(path);
      return place ? call(place, ...args) : own(path, ...args);
    };
  }
  const { openAsBlob } = fs;
  fs.openAsBlob = async (path, ...rest) => {
    const place = locate(path);
    return place
      ? new Blob([place.disk.open(place.inside, false).read()])
      : openAsBlob(path, ...rest);
  };
  syncBuiltinESMExports();
}
