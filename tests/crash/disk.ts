// A disk that a test cuts off at a chosen moment. A kill ends the process in the middle of a call;
// a power cut takes besides what was not flushed: contents of files, block by block, and names in
// folders, the latest first.
//
// Every call that changes something is a moment. Calls are synchronous, and whoever imitates an
// interface of a file system (node-disk.ts, page-disk.ts) is thin.

type Bytes = Uint8Array<ArrayBuffer>;

interface File {
  kind: 'file';
  bytes: Bytes;
  /** What a power cut leaves for certain. */
  flushed: Bytes;
}

interface Folder {
  kind: 'folder';
  entries: Map<string, File | Folder>;
  /** How to take back each change of a name since the folder was flushed. */
  pending: (() => void)[];
}

/** A file system writes in blocks; small, so that small files have several. */
const BLOCK = 64;
/** Changes of names that a power cut can take where folders cannot be flushed. */
const MOST_LOST = 2;

export class Died extends Error {
  constructor() {
    super('The process is dead.');
  }
}

export type Problem = 'ENOENT' | 'EEXIST' | 'ENOTDIR' | 'EISDIR';
const problem = (code: Problem, path: string) =>
  Object.assign(new Error(`${code}: ${path}`), { code });

export class Disk {
  /** Calls so far that changed something. */
  moments = 0;
  dead = false;
  /** The moment that does not end. */
  dieAt = Number.POSITIVE_INFINITY;
  /** Names that the power cut before took back. */
  lostNames = 0;
  readonly #log: (() => void)[] = [];

  /**
   * A disk as one process sees it.
   * @param random in [0, 1)
   * @param flushesFolders whether a folder can be flushed. Otherwise names change in order, and a
   * power cut takes a few of the last.
   */
  constructor(
    private readonly random: () => number,
    private readonly flushesFolders = true,
    private readonly root: Folder = { kind: 'folder', entries: new Map(), pending: [] },
  ) {}

  isFolder(path: string): boolean {
    return this.#find(path)?.kind === 'folder';
  }

  exists(path: string): boolean {
    return this.#find(path) !== undefined;
  }

  /** Names in a folder. */
  list(path: string): { name: string; isFolder: boolean }[] {
    return [...this.#folder(path).entries].map(([name, { kind }]) => ({
      name,
      isFolder: kind === 'folder',
    }));
  }

  makeFolder(path: string): void {
    const [folder, name] = this.#place(path);
    if (folder.entries.has(name)) throw problem('EEXIST', path);
    this.#change(() =>
      this.#put(folder, name, { kind: 'folder', entries: new Map(), pending: [] }),
    );
  }

  /** Opens a file, which later changes of its name do not concern. */
  open(path: string, create: boolean): OpenFile {
    const [folder, name] = this.#place(path);
    let file = folder.entries.get(name);
    if (file?.kind === 'folder') throw problem('EISDIR', path);
    if (!file) {
      if (!create) throw problem('ENOENT', path);
      const made: File = { kind: 'file', bytes: new Uint8Array(), flushed: new Uint8Array() };
      this.#change(() => this.#put(folder, name, made));
      file = made;
    }
    const alive = () => {
      if (this.dead) throw new Died();
    };
    return new OpenFile(file, alive, (whole, part) => this.#change(whole, part), this.random);
  }

  flushFolder(path: string): void {
    const folder = this.#folder(path);
    this.#change(() => folder.pending.splice(0));
  }

  /** Within one folder. */
  rename(from: string, to: string): void {
    const [folder, name] = this.#place(from);
    const [, other] = this.#place(to);
    const file = folder.entries.get(name);
    if (!file) throw problem('ENOENT', from);
    this.#change(() => {
      const before = new Map(folder.entries);
      folder.entries.delete(name);
      folder.entries.set(other, file);
      this.#remember(folder, () => {
        folder.entries = before;
      });
    });
  }

  /** A file, or a folder with what is in it, one name after another. */
  remove(path: string): void {
    const [folder, name] = this.#place(path);
    const node = folder.entries.get(name);
    if (!node) throw problem('ENOENT', path);
    if (node.kind === 'folder')
      for (const inside of node.entries.keys()) this.remove(`${path}/${inside}`);
    this.#change(() => {
      folder.entries.delete(name);
      this.#remember(folder, () => folder.entries.set(name, node));
    });
  }

  /** Ends this process. Returns the disk as the next one finds it. */
  next(powerCut: boolean): Disk {
    this.dead = true;
    const next = new Disk(this.random, this.flushesFolders, this.root);
    if (!powerCut) return next;
    if (!this.flushesFolders) this.#takeBack(this.#log);
    this.#cut(this.root);
    next.lostNames = this.lostNames;
    return next;
  }

  /** A disk with all that this one has, durable. */
  copy(random: () => number): Disk {
    const of = ({ entries }: Folder): Folder => {
      const copies = [...entries].map(([name, node]): [string, File | Folder] => [
        name,
        node.kind === 'folder' ? of(node) : { ...node, flushed: node.bytes },
      ]);
      return { kind: 'folder', entries: new Map(copies), pending: [] };
    };
    return new Disk(random, this.flushesFolders, of(this.root));
  }

  #cut(folder: Folder): void {
    if (this.flushesFolders) this.#takeBack(folder.pending);
    for (const node of folder.entries.values()) {
      if (node.kind === 'folder') this.#cut(node);
      else if (node.bytes !== node.flushed) node.bytes = node.flushed = this.#torn(node);
    }
  }

  #takeBack(changes: (() => void)[]): void {
    const lost = Math.floor(this.random() * (changes.length + 1));
    for (let i = 0; i < lost; i++) changes.pop()?.();
    changes.splice(0);
    this.lostNames += lost;
  }

  /**
   * Each block is the old or the new one; where there is none, zeros. How many are new differs from
   * cut to cut: where hardly one is lost, a file may look whole.
   */
  #torn({ bytes, flushed }: File): Bytes {
    const isNew = [0.1, 0.5, 0.97][Math.floor(3 * this.random())];
    const longer = Math.max(bytes.length, flushed.length);
    const shorter = Math.min(bytes.length, flushed.length);
    const grown = this.random() < isNew ? longer - shorter : this.random() * (longer - shorter);
    const torn = new Uint8Array(shorter + Math.floor(grown));
    for (let from = 0; from < torn.length; from += BLOCK) {
      const source = this.random() < isNew ? bytes : flushed;
      torn.set(source.subarray(from, Math.min(from + BLOCK, torn.length)), from);
    }
    return torn;
  }

  #find(path: string): File | Folder | undefined {
    if (this.dead) throw new Died();
    let node: File | Folder | undefined = this.root;
    for (const name of path.split('/').filter(Boolean))
      node = node?.kind === 'folder' ? node.entries.get(name) : undefined;
    return node;
  }

  #folder(path: string): Folder {
    const node = this.#find(path);
    if (!node) throw problem('ENOENT', path);
    if (node.kind !== 'folder') throw problem('ENOTDIR', path);
    return node;
  }

  #place(path: string): [folder: Folder, name: string] {
    const names = path.split('/').filter(Boolean);
    return [this.#folder(names.slice(0, -1).join('/')), names.at(-1) ?? ''];
  }

  #put(folder: Folder, name: string, node: File | Folder): void {
    folder.entries.set(name, node);
    this.#remember(folder, () => folder.entries.delete(name));
  }

  #remember(folder: Folder, takeBack: () => void): void {
    const changes = this.flushesFolders ? folder.pending : this.#log;
    changes.push(takeBack);
    if (!this.flushesFolders && changes.length > MOST_LOST) changes.shift();
  }

  /** @param part what is done of it when the process dies meanwhile */
  #change(whole: () => void, part: () => void = () => {}): void {
    if (this.dead) throw new Died();
    this.moments++;
    this.dead = this.moments >= this.dieAt;
    // A call may have been done although nobody learned of it.
    if (!this.dead || this.random() < 0.5) whole();
    else part();
    if (this.dead) throw new Died();
  }
}

export class OpenFile {
  constructor(
    private readonly file: File,
    /** Throws if the process is dead. */
    private readonly alive: () => void,
    private readonly change: (whole: () => void, part?: () => void) => void,
    private readonly random: () => number,
  ) {}

  get size(): number {
    return this.file.bytes.length;
  }

  read(from = 0, to = this.size): Bytes {
    this.alive();
    return this.file.bytes.slice(from, to);
  }

  write(at: number, bytes: Uint8Array): void {
    const put = (part: Uint8Array) => {
      const whole = new Uint8Array(Math.max(this.size, at + part.length));
      whole.set(this.file.bytes);
      whole.set(part, at);
      this.file.bytes = whole;
    };
    this.change(
      () => put(bytes),
      () => put(bytes.subarray(0, Math.floor(this.random() * bytes.length))),
    );
  }

  truncate(size: number): void {
    this.change(() => {
      this.file.bytes = this.file.bytes.slice(0, size);
    });
  }

  flush(): void {
    this.change(() => {
      this.file.flushed = this.file.bytes;
    });
  }
}
