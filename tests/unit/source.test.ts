// Model folders: on a server that behaves well and badly, in dropped files, and on disk.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { browserCache } from '../../src/files/block-cache';
import { ModelFileError } from '../../src/files/download';
import { type BlockCache, type HttpOptions, httpSource, hubAddress } from '../../src/files/http';
import { hubSource } from '../../src/files/hub';
import { filesSource, folderSource, readJson } from '../../src/files/source';
import { COMMIT, type Hub, serveHub } from '../hub-server';

/** Two full blocks of 2 MiB and part of a third. */
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

/** Compares at once: expect takes half a minute for five million elements. */
function same(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  expect(Buffer.compare(actual, expected)).toBe(0);
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

test('the hub says at which commit it served a model', async () => {
  const source = open();
  expect(source.revision?.()).toBeUndefined();
  await source.read('config.json');
  expect(source.revision?.()).toBe(COMMIT);
});

test('an id and a revision become a URL on the hub', () => {
  expect(hubAddress('openai-community/gpt2')('onnx/model.onnx')).toBe(
    'https://huggingface.co/openai-community/gpt2/resolve/main/onnx/model.onnx',
  );
  expect(hubAddress('distilgpt2', 'refs/pr/1')('config.json')).toBe(
    'https://huggingface.co/distilgpt2/resolve/refs%2Fpr%2F1/config.json',
  );
});

test('ranges are read in any order; consecutive ones share a single request', async () => {
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
  const reports: [string, number, number | undefined][] = [];
  await open({ onProgress: (...progress) => reports.push(progress) }).read(FILE);
  const counts = reports.map(([, loaded]) => loaded);
  expect(counts.length).toBeGreaterThan(3);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  expect(reports.at(-1)).toEqual([FILE, SIZE, SIZE]);
});

test('a server without range requests works, with or without a length', async () => {
  hub.faults.set(PATH, { kind: 'no-ranges' });
  const source = open();
  same(await source.range(FILE, 3_000_000, 3_000_100), body.subarray(3_000_000, 3_000_100));
  same(await source.range(FILE, 10, 20), body.subarray(10, 20));

  hub.faults.set(PATH, { kind: 'no-length' });
  same(await open().read(FILE), body);
  expect(await reading()).toEqual([
    'model',
    'model.safetensors of org/tiny: the server does not give its length, ' +
      "so it cannot be read in ranges. Drop the model's files on the page instead.",
  ]);
});

test('a broken connection is resumed where it stopped', async () => {
  hub.faults.set(PATH, { kind: 'cut', bytes: 600_000 });
  same(await open().range(FILE, 0, SIZE), body);
  const starts = hub.requests.map((line) => Number(/bytes=(\d+)-/.exec(line)?.[1]));
  expect(starts.length).toBeGreaterThan(8);
  expect(starts).toEqual([...new Set(starts)].sort((a, b) => a - b));
  // A server that is briefly busy is tried again, too.
  hub.faults.set(PATH, { kind: 'status', status: 503, times: hub.requests.length + 2 });
  same(await open().range(FILE, 0, SIZE), body);
});

test('after a connection broke five times, the error says how much arrived', async () => {
  const source = open({ cache });
  await source.range(FILE, 0, 3_000_000);
  source.close();
  hub.faults.set(PATH, { kind: 'cut', bytes: 0 });
  const [kind, message] = await refusal(source.range(FILE, 4_194_304, SIZE));
  expect([kind, message]).toEqual([
    'network',
    expect.stringMatching(/^model\.safetensors of org\/tiny is incomplete \(4\.2 of 5\.0 MB\): ./),
  ]);
  expect(message).toMatch(/: .+, tried 5 times\. What arrived is kept: try again\.$/);
});

test('a silent server is tried again, five times at most', async () => {
  hub.faults.set(PATH, { kind: 'silent', times: 1 });
  same(await open({ stall: 100 }).range(FILE, 0, 10), body.subarray(0, 10));
  hub.faults.set(PATH, { kind: 'silent' });
  const [kind, message] = await reading({ stall: 50 });
  expect([kind, message]).toEqual([
    'network',
    expect.stringContaining('nothing arrived for 0.05 s, tried 5 times'),
  ]);
});

test('a slow server is given time', async () => {
  hub.faults.set(PATH, { kind: 'slow', milliseconds: 300 });
  same(await open().range(FILE, 0, 10), body.subarray(0, 10));
});

test('missing files and models, private ones and web pages have different errors', async () => {
  const missing = "does not exist on the server (HTTP 404). Check the model's name and files.";
  expect(await refusal(open().size('onnx/model.onnx'))).toEqual([
    'model',
    `onnx/model.onnx of org/tiny ${missing}`,
  ]);
  const noModel = open({ label: 'org/none', address: hubAddress('org/none', 'main', hub.url) });
  expect(await refusal(noModel.read('config.json'))).toEqual([
    'model',
    'config.json of org/none: the hub has no such public model (HTTP 401). ' +
      'Check the id: org/name, or org/name@revision.',
  ]);
  hub.faults.set(PATH, { kind: 'status', status: 403, code: 'GatedRepo' });
  expect((await reading())[1]).toContain('is not public (HTTP 403');
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
      expect.stringContaining('is a web page: the server has no such file'),
    ]);
  }
});

test('has() returns false for a missing file and throws for a failing server', async () => {
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
  const [kind, message] = await refusal(source.read('config.json'));
  expect(kind).toBe('network');
  expect(message).toMatch(/^config\.json of org\/tiny could not be downloaded: /);
  expect(message).toMatch(/Check the connection, then try again\.$/);
});

test('wrong lengths and wrong ranges are detected', async () => {
  const source = open();
  expect((await refusal(source.range(FILE, 0, SIZE + 1)))[1]).toBe(
    'model.safetensors of org/tiny has 5,000,000 bytes, but at least 5,000,001 are needed: ' +
      'it is incomplete. Download it again.',
  );
  hub.faults.set(PATH, { kind: 'longer', bytes: 100 });
  expect(await refusal(open().range(FILE, 0, SIZE + 100))).toEqual([
    'model',
    'model.safetensors of org/tiny: the server has no byte 5,000,000; ' +
      'the file has 5,000,000 bytes. Load the model again.',
  ]);
  hub.faults.set(PATH, { kind: 'wrong-range' });
  expect(await refusal(open().range(FILE, 3_000_000, SIZE))).toEqual([
    'network',
    expect.stringContaining('the server sent bytes from 2,097,159 instead of 2,097,152'),
  ]);
  hub.faults.delete(PATH);
  hub.files.set(PATH, new Uint8Array());
  expect((await refusal(open().read(FILE)))[1]).toContain('is empty');
});

test('versions of a file that changes while it is read are not mixed', async () => {
  const fresh = `${PATH}.new`;
  hub.files.set(fresh, body);
  hub.faults.set(fresh, { kind: 'changes' });
  const source = open();
  await source.range(`${FILE}.new`, 0, 10);
  source.close();
  expect((await refusal(source.range(`${FILE}.new`, 3_000_000, 3_000_010)))[1]).toContain(
    'changed on the server while it was read. Load it again.',
  );
});

test('a file without a length that breaks off is read anew, five times at most', async () => {
  hub.faults.set('org/tiny@main/config.json', { kind: 'no-length', bytes: 5, times: 2 });
  expect(await readJson(open(), 'config.json')).toEqual({ n_layer: 2 });
  hub.faults.set('org/tiny@main/config.json', { kind: 'no-length', bytes: 5 });
  const [kind, message] = await refusal(open().read('config.json'));
  expect(kind).toBe('network');
  expect(message).toMatch(
    /^config\.json of org\/tiny could not be downloaded: .+, tried 5 times\./,
  );
});

test('more bytes than a text has are refused before they are read', async () => {
  const claim = { kind: 'longer', bytes: 2 ** 50 } as const;
  hub.faults.set('org/tiny@main/config.json', claim);
  const tooLong =
    /^config\.json of org\/tiny has 1,125,899,906,842,638 bytes, and at most 67,108,864/;
  expect(await refusal(open().read('config.json'))).toEqual([
    'model',
    expect.stringMatching(tooLong),
  ]);
  // With no length, as soon as they are too many.
  hub.faults.set(PATH, { kind: 'no-length' });
  expect((await refusal(open().read(FILE, 1_000_000)))[1]).toContain(
    'has more than 1,000,000 bytes',
  );
  const dropped = filesSource(new Map([[FILE, new Blob([body])]]));
  expect((await refusal(dropped.read(FILE, 1_000_000)))[1]).toContain('has 5,000,000 bytes');
});

test('a server that sends hardly anything is given up, like a silent one', async () => {
  hub.faults.set(PATH, { kind: 'trickle', milliseconds: 5 });
  const [kind, message] = await reading({ stall: 60 });
  expect(kind).toBe('network');
  expect(message).toMatch(/arrived (in|for) 0\.06 s, tried 5 times/);
});

test('a server that asks to wait is given the time, if that is not long', async () => {
  hub.files.set(`${PATH}.busy`, body);
  hub.faults.set(`${PATH}.busy`, { kind: 'status', status: 429, times: 1, retryAfter: 1 });
  const begun = performance.now();
  same(await open().range(`${FILE}.busy`, 0, 10), body.subarray(0, 10));
  expect(performance.now() - begun).toBeGreaterThan(990);
  hub.requests.length = 0;
  hub.faults.set(PATH, { kind: 'status', status: 503, retryAfter: 3600 });
  expect((await reading())[1]).toMatch(/Try again in 3,600 s, as it asks\. \(tried once\)$/);
  expect(hub.requests.length).toBe(1);
});

test('contents are held against those that the hub gives', async () => {
  const fromHub = () => hubSource({ id: 'org/tiny', host: hub.url, pause: 1, cache });
  same(await fromHub().read(FILE), body);
  // A bit on the disk: the block is not believed, and comes from the hub again.
  const sent = hub.sent();
  for (const [key, bytes] of cached) {
    const flipped = bytes.slice();
    flipped[1000] ^= 1;
    cached.set(key, flipped);
  }
  same(await fromHub().read(FILE), body);
  expect(hub.sent() - sent).toBe(SIZE);

  // A bit on the way, in a large file and in a text.
  const differs = expect.stringContaining('has not the contents that the hub gives for it');
  cached.clear();
  hub.faults.set(PATH, { kind: 'flipped', byte: 4_000_000 });
  expect(await refusal(fromHub().read(FILE))).toEqual(['network', differs]);
  // Nothing of it was kept.
  hub.faults.delete(PATH);
  same(await fromHub().read(FILE), body);
  const text = 'org/tiny@main/config.json';
  hub.faults.set(text, { kind: 'flipped', byte: 12 });
  expect(await refusal(fromHub().read('config.json'))).toEqual(['network', differs]);

  // What was skipped is read before the file counts as verified.
  cached.clear();
  hub.faults.set(PATH, { kind: 'flipped', byte: 3_000_000 });
  const source = fromHub();
  same(await source.range(FILE, 0, 10), body.subarray(0, 10));
  expect(await refusal(source.verify!(FILE))).toEqual(['network', differs]);
  const another = fromHub();
  expect(await refusal(another.range(FILE, SIZE - 10, SIZE))).toEqual(['network', differs]);
});

test('an abort throws the caller’s reason', async () => {
  const controller = new AbortController();
  hub.faults.set(PATH, { kind: 'slow', milliseconds: 5_000 });
  const work = open({ signal: controller.signal }).read(FILE);
  setTimeout(() => controller.abort('enough'), 50);
  await expect(work).rejects.toBe('enough');
  const onProgress = () => controller.abort('enough');
  await expect(open({ signal: controller.signal, onProgress }).read(FILE)).rejects.toBe('enough');
});

test('cached blocks are not downloaded again, even after a load that broke off', async () => {
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
  // One request for the file's facts, one from where the cache ends.
  expect(hub.requests).toEqual([`GET ${PATH} bytes=0-`, `GET ${PATH} bytes=2097152-`]);

  hub.requests.length = 0;
  same(await open({ cache }).read(FILE), body);
  expect(hub.requests.length).toBe(1);

  // Another version of the file has its own entries.
  hub.files.set(PATH, body.slice(0, SIZE - 1));
  same(await open({ cache }).read(FILE), body.subarray(0, SIZE - 1));
});

test('the browser’s storage keeps blocks; if full, it says so once and harms nothing', async () => {
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
  const reasons: string[] = [];
  const working = browserCache((why) => reasons.push(why), storage);
  expect(await working.get('a b')).toBe(undefined);
  await working.put('a b', Uint8Array.of(1, 2));
  expect(await working.get('a b')).toEqual(Uint8Array.of(1, 2));

  full = true;
  same(await open({ cache: working }).read(FILE), body);
  expect(reasons).toEqual(['the browser’s storage for this page is full']);

  const none = browserCache((why) => reasons.push(why), undefined);
  same(await open({ cache: none }).read(FILE), body);
  expect(reasons[1]).toContain('no storage');
  expect(reasons.length).toBe(2);
});

test('dropped files and folders on disk work the same way', async () => {
  const counts: number[] = [];
  const dropped = filesSource(new Map([[FILE, new Blob([body])]]), (_, loaded) =>
    counts.push(loaded),
  );
  same(await dropped.range(FILE, 5, 9), body.subarray(5, 9));
  same(await dropped.read(FILE), body);
  expect(counts).toEqual([9, SIZE]);
  expect([await dropped.has(FILE), await dropped.has('config.json')]).toEqual([true, false]);
  expect((await refusal(readJson(dropped, 'config.json')))[1]).toBe(
    "config.json is not in the dropped files. Choose a folder with all of the model's files.",
  );
  expect((await refusal(readJson(dropped, FILE)))[1]).toMatch(
    /^model\.safetensors of the dropped files is not JSON: /,
  );
  expect((await refusal(dropped.range(FILE, 0, SIZE + 1)))[1]).toContain('it is incomplete');

  const folder = folderSource('models/tiny', {
    size: async (file) => (file === FILE ? SIZE : undefined),
    range: async (_, from, to) => body.slice(from, to),
  });
  same(await folder.range(FILE, 7, 8), body.subarray(7, 8));
  expect((await refusal(folder.size('other')))[1]).toContain('other is not in models/tiny');
});
