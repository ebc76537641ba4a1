// Model folders behind a server that behaves well and badly, in dropped files and in any folder.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { browserCache } from '../../src/files/block-cache';
import { ModelFileError } from '../../src/files/download';
import { type BlockCache, type HttpOptions, httpSource, hubAddress } from '../../src/files/http';
import { filesSource, folderSource, readJson } from '../../src/files/source';
import { type Hub, serveHub } from '../hub-server';

/** Two whole blocks of 2 MiB and a part of a third. */
const SIZE = 5_000_000;
const body = Uint8Array.from({ length: SIZE }, (_, i) => (i * 2654435761) >>> 24);
const FILE = 'model.safetensors';
const PATH = `org/tiny@main/${FILE}`;

let hub: Hub;
beforeAll(async () => {
  hub = await serveHub();
});
afterAll(() => hub.close());
let cached: Map<string, Uint8Array<ArrayBuffer>>;
beforeEach(() => {
  hub.files.clear();
  hub.files.set(PATH, body);
  hub.files.set('org/tiny@main/config.json', new TextEncoder().encode('{"n_layer": 2}'));
  hub.faults.clear();
  hub.requests.length = 0;
  cached = new Map();
});

/** A whole file at once: expect's own way through five million elements takes half a minute. */
function same(got: Uint8Array, expected: Uint8Array): void {
  expect(got.length).toBe(expected.length);
  expect(Buffer.compare(got, expected)).toBe(0);
}

const cache: BlockCache = {
  get: async (key) => cached.get(key),
  put: async (key, bytes) => void cached.set(key, bytes),
};
const open = (options: Partial<HttpOptions> = {}) =>
  httpSource({
    label: 'org/tiny',
    address: hubAddress('org/tiny', 'main', hub.url),
    pause: 1,
    ...options,
  });

async function refusal(work: Promise<unknown>): Promise<[kind: string, message: string]> {
  const error = await work.then(
    () => new Error('accepted'),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(ModelFileError);
  return [(error as ModelFileError).kind, (error as Error).message];
}
const reading = (options?: Partial<HttpOptions>) => refusal(open(options).range(FILE, 0, SIZE));

test('an id becomes the hub’s address, whatever its revision', () => {
  expect(hubAddress('openai-community/gpt2')('onnx/model.onnx')).toBe(
    'https://huggingface.co/openai-community/gpt2/resolve/main/onnx/model.onnx',
  );
  expect(hubAddress('distilgpt2', 'refs/pr/1')('config.json')).toBe(
    'https://huggingface.co/distilgpt2/resolve/refs%2Fpr%2F1/config.json',
  );
});

test('ranges are the file’s bytes, in any order, and one answer serves those that follow each other', async () => {
  const source = open();
  expect(await source.size(FILE)).toBe(SIZE);
  for (let at = 0; at < SIZE; at += 700_000) {
    const to = Math.min(at + 700_000, SIZE);
    same(await source.range(FILE, at, to), body.subarray(at, to));
  }
  expect(hub.requests).toEqual([`GET ${PATH} bytes=0-`]);
  same(await source.range(FILE, 10, 13), body.subarray(10, 13));
  same(await source.range(FILE, SIZE - 1, SIZE), body.subarray(SIZE - 1));
  expect(await source.range(FILE, 5, 5)).toEqual(new Uint8Array());
  expect(await readJson(source, 'config.json')).toEqual({ n_layer: 2 });
});

test('progress rises to the file’s length', async () => {
  const seen: [string, number, number | undefined][] = [];
  await open({ onProgress: (...progress) => seen.push(progress) }).read(FILE);
  const counts = seen.map(([, loaded]) => loaded);
  expect(counts.length).toBeGreaterThan(3);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  expect(seen.at(-1)).toEqual([FILE, SIZE, SIZE]);
});

test('a server without ranges serves all the same, with or without a length', async () => {
  hub.faults.set(PATH, { kind: 'no-ranges' });
  const source = open();
  same(await source.range(FILE, 3_000_000, 3_000_100), body.subarray(3_000_000, 3_000_100));
  same(await source.range(FILE, 10, 20), body.subarray(10, 20));

  hub.faults.set(PATH, { kind: 'no-length' });
  same(await open().read(FILE), body);
  expect(await reading()).toEqual([
    'model',
    'model.safetensors of org/tiny: its server does not say how long it is, so it cannot be read in parts. ' +
      "Drop the model's files on the page instead.",
  ]);
});

test('a connection that breaks is taken up where it stopped', async () => {
  hub.faults.set(PATH, { kind: 'cut', bytes: 600_000 });
  same(await open().range(FILE, 0, SIZE), body);
  const starts = hub.requests.map((line) => Number(/bytes=(\d+)-/.exec(line)?.[1]));
  expect(starts.length).toBeGreaterThan(8);
  expect(starts).toEqual([...new Set(starts)].sort((a, b) => a - b));
  // A server that is busy for a moment is asked again too.
  hub.faults.set(PATH, { kind: 'status', status: 503, times: hub.requests.length + 2 });
  same(await open().range(FILE, 0, SIZE), body);
});

test('a connection that keeps breaking is given up, with how far it came', async () => {
  const source = open({ cache });
  await source.range(FILE, 0, 3_000_000);
  source.close();
  hub.faults.set(PATH, { kind: 'cut', bytes: 0 });
  const [kind, message] = await refusal(source.range(FILE, 4_194_304, SIZE));
  expect([kind, message]).toEqual([
    'network',
    expect.stringMatching(
      /^model\.safetensors of org\/tiny is 4\.2 of 5\.0 MB long: .+, tried 5 times\. What came is kept: try again\.$/,
    ),
  ]);
});

test('a silent server is asked again, and given up', async () => {
  hub.faults.set(PATH, { kind: 'silent', times: 1 });
  same(await open({ stall: 100 }).range(FILE, 0, 10), body.subarray(0, 10));
  hub.faults.set(PATH, { kind: 'silent' });
  const [kind, message] = await reading({ stall: 50 });
  expect([kind, message]).toEqual([
    'network',
    expect.stringContaining('nothing came for 0.05 s, tried 5 times'),
  ]);
});

test('a slow server is waited for', async () => {
  hub.faults.set(PATH, { kind: 'slow', milliseconds: 300 });
  same(await open().range(FILE, 0, 10), body.subarray(0, 10));
});

test('what is not there, not open or not a file is told apart', async () => {
  const missing = "does not exist on the server (HTTP 404). Check the model's name and its files.";
  expect(await refusal(open().size('onnx/model.onnx'))).toEqual([
    'model',
    `onnx/model.onnx of org/tiny ${missing}`,
  ]);
  const nobody = open({ label: 'org/none', address: hubAddress('org/none', 'main', hub.url) });
  expect(await refusal(nobody.read('config.json'))).toEqual([
    'model',
    'config.json of org/none: the hub has no such public model (HTTP 401). Check the id: org/name, or org/name@revision.',
  ]);
  hub.faults.set(PATH, { kind: 'status', status: 403, code: 'GatedRepo' });
  expect((await reading())[1]).toContain('is not open to everyone (HTTP 403');
  hub.faults.set(PATH, { kind: 'status', status: 404, code: 'RevisionNotFound' });
  expect((await reading())[1]).toContain('no such revision of the model (HTTP 404)');
  hub.faults.set(PATH, { kind: 'status', status: 503 });
  expect(await reading()).toEqual([
    'network',
    expect.stringMatching(/HTTP 503.* \(tried 5 times\)$/),
  ]);
  for (const kind of ['html', 'disguised-html'] as const) {
    hub.faults.set(PATH, { kind });
    expect(await refusal(open().read(FILE))).toEqual([
      'model',
      expect.stringContaining('is a web page, not the file'),
    ]);
  }
});

test('has tells a missing file from a failing server', async () => {
  expect([await open().has('config.json'), await open().has('vocab.json')]).toEqual([true, false]);
  hub.faults.set('org/tiny@main/vocab.json', { kind: 'html' });
  expect(await open().has('vocab.json')).toBe(false);
  hub.faults.set(PATH, { kind: 'status', status: 500 });
  expect((await refusal(open().has(FILE)))[0]).toBe('network');
});

test('an offline hub is a network error', async () => {
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const source = open({ address: hubAddress('org/tiny', 'main', `http://127.0.0.1:${port}`) });
  expect(await refusal(source.read('config.json'))).toEqual([
    'network',
    expect.stringMatching(
      /^config\.json of org\/tiny could not be fetched: .*Check the connection, then try again\.$/,
    ),
  ]);
});

test('wrong lengths and wrong ranges are noticed', async () => {
  const source = open();
  expect((await refusal(source.range(FILE, 0, SIZE + 1)))[1]).toBe(
    'model.safetensors of org/tiny is 5,000,000 of at least 5,000,001 bytes long: it is cut short. Download it again.',
  );
  hub.faults.set(PATH, { kind: 'longer', bytes: 100 });
  expect(await refusal(open().range(FILE, 0, SIZE + 100))).toEqual([
    'model',
    'model.safetensors of org/tiny: the server has nothing at byte 5,000,000, it has 5,000,000. Load the model again.',
  ]);
  hub.faults.set(PATH, { kind: 'wrong-range' });
  expect(await refusal(open().range(FILE, 3_000_000, SIZE))).toEqual([
    'network',
    expect.stringContaining(
      'the server sent bytes from 2,097,159, asked for were those from 2,097,152',
    ),
  ]);
  hub.faults.delete(PATH);
  hub.files.set(PATH, new Uint8Array());
  expect((await refusal(open().read(FILE)))[1]).toContain('is empty');
});

test('a file that changes while it is read is not mixed', async () => {
  const fresh = `${PATH}.new`;
  hub.files.set(fresh, body);
  hub.faults.set(fresh, { kind: 'changes' });
  const source = open();
  await source.range(`${FILE}.new`, 0, 10);
  source.close();
  expect((await refusal(source.range(`${FILE}.new`, 3_000_000, 3_000_010)))[1]).toContain(
    'changed on its server while it was read. Load it again.',
  );
});

test('an abort is the caller’s own reason', async () => {
  const controller = new AbortController();
  hub.faults.set(PATH, { kind: 'slow', milliseconds: 5_000 });
  const work = open({ signal: controller.signal }).read(FILE);
  setTimeout(() => controller.abort('enough'), 50);
  await expect(work).rejects.toBe('enough');
  const onProgress = () => controller.abort('enough');
  await expect(open({ signal: controller.signal, onProgress }).read(FILE)).rejects.toBe('enough');
});

test('what was read comes from the cache, also after a broken load', async () => {
  hub.faults.set(PATH, { kind: 'cut', bytes: 2_500_000, times: 1 });
  const controller = new AbortController();
  const onProgress = (_: string, loaded: number) =>
    loaded >= 2_097_152 && controller.abort('stopped');
  await expect(open({ cache, onProgress, signal: controller.signal }).read(FILE)).rejects.toBe(
    'stopped',
  );
  expect(cached.size).toBe(1);

  hub.requests.length = 0;
  same(await open({ cache }).read(FILE), body);
  // One answer for what the file is, one from where the cache ends.
  expect(hub.requests).toEqual([`GET ${PATH} bytes=0-`, `GET ${PATH} bytes=2097152-`]);

  hub.requests.length = 0;
  same(await open({ cache }).read(FILE), body);
  expect(hub.requests.length).toBe(1);

  // Another version of the file is another entry.
  hub.files.set(PATH, body.slice(0, SIZE - 1));
  same(await open({ cache }).read(FILE), body.subarray(0, SIZE - 1));
});

test('the browser’s storage keeps blocks; a full or refused one is told once and does no harm', async () => {
  const entries = new Map<string, Response>();
  let full = false;
  const storage = {
    open: async () => ({
      match: async (key: string) => entries.get(key)?.clone(),
      put: async (key: string, response: Response) => {
        if (full) throw new DOMException('no room', 'QuotaExceededError');
        entries.set(key, response);
      },
    }),
  } as unknown as CacheStorage;
  const told: string[] = [];
  const kept = browserCache((why) => told.push(why), storage);
  expect(await kept.get('a b')).toBe(undefined);
  await kept.put('a b', Uint8Array.of(1, 2));
  expect(await kept.get('a b')).toEqual(Uint8Array.of(1, 2));

  full = true;
  same(await open({ cache: kept }).read(FILE), body);
  expect(told).toEqual(['the browser’s storage for this page is full']);

  const none = browserCache((why) => told.push(why), undefined);
  same(await open({ cache: none }).read(FILE), body);
  expect(told[1]).toContain('no storage');
  expect(told.length).toBe(2);
});

test('dropped files and folders are read in the same way', async () => {
  const seen: number[] = [];
  const dropped = filesSource(new Map([[FILE, new Blob([body])]]), (_, loaded) =>
    seen.push(loaded),
  );
  same(await dropped.range(FILE, 5, 9), body.subarray(5, 9));
  same(await dropped.read(FILE), body);
  expect(seen).toEqual([9, SIZE]);
  expect([await dropped.has(FILE), await dropped.has('config.json')]).toEqual([true, false]);
  expect((await refusal(readJson(dropped, 'config.json')))[1]).toBe(
    "config.json is not in the dropped files. Choose a folder with all of the model's files.",
  );
  expect((await refusal(readJson(dropped, FILE)))[1]).toMatch(
    /^model\.safetensors of the dropped files is not JSON: /,
  );
  expect((await refusal(dropped.range(FILE, 0, SIZE + 1)))[1]).toContain('is cut short');

  const folder = folderSource('models/tiny', {
    size: async (file) => (file === FILE ? SIZE : undefined),
    range: async (_, from, to) => body.slice(from, to),
  });
  same(await folder.range(FILE, 7, 8), body.subarray(7, 8));
  expect((await refusal(folder.size('other')))[1]).toContain('other is not in models/tiny');
});
