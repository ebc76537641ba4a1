// Downloads from a local server that behaves well and badly.

import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { download, downloadJson, ModelFileError } from '../../src/files/download';

const body = Uint8Array.from({ length: 200_000 }, (_, i) => i * 31);
const routes: Record<string, RequestListener> = {
  '/onnx/model.onnx': (_, response) => {
    response.writeHead(200, { 'content-length': body.length }).end(body);
  },
  '/chunked.bin': (_, response) => {
    response.write(body);
    response.end();
  },
  '/zipped.bin': (_, response) => {
    const zipped = gzipSync(new Uint8Array(body.length));
    response
      .writeHead(200, { 'content-encoding': 'gzip', 'content-length': zipped.length })
      .end(zipped);
  },
  '/onnx/cut.onnx': (_, response) => {
    response
      .writeHead(200, { 'content-length': 4_100_000 })
      .write(new Uint8Array(1_900_000), () => response.destroy());
  },
  '/page.bin': (_, response) => {
    response
      .writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
      .end('<p>start page</p>');
  },
  '/disguised.bin': (_, response) => {
    response
      .writeHead(200, { 'content-type': 'application/octet-stream' })
      .end('\n<!DOCTYPE html><p>start page</p>');
  },
  '/closed.bin': (_, response) => void response.writeHead(403).end(),
  '/busy.bin': (_, response) => void response.writeHead(503, 'Busy').end(),
  '/slow.bin': (_, response) => void response.writeHead(200, { 'content-length': 10 }).write('a'),
  '/config.json': (_, response) => void response.end('{"n_layer": 2}'),
  '/broken.json': (_, response) => void response.end('{"n_layer": '),
};

let server: Server;
let origin: string;
beforeAll(async () => {
  server = createServer((request, response) => {
    const route = routes[request.url!.split('?')[0]];
    if (route) route(request, response);
    else response.writeHead(404).end('no such file');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function refusal(
  path: string,
  options?: Parameters<typeof download>[1],
): Promise<[string, string]> {
  const error = await download(`${origin}${path}`, options).then(
    () => new Error('accepted'),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(ModelFileError);
  const { kind, message } = error as ModelFileError;
  return [kind, message];
}

test('returns the bytes and reports progress', async () => {
  const progress: [number, number | undefined][] = [];
  const bytes = await download(`${origin}/onnx/model.onnx`, {
    onProgress: (loaded, total) => progress.push([loaded, total]),
  });
  expect(bytes).toEqual(body);
  expect(progress[0]).toEqual([0, body.length]);
  expect(progress.at(-1)).toEqual([body.length, body.length]);
  const counts = progress.map(([loaded]) => loaded);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
});

test('without a known length, progress has no total', async () => {
  for (const path of ['/chunked.bin', '/zipped.bin']) {
    const totals = new Set<number | undefined>();
    const bytes = await download(`${origin}${path}`, {
      onProgress: (_, total) => totals.add(total),
    });
    expect([bytes.length, ...totals]).toEqual([body.length, undefined]);
  }
  // Unless the caller knows the length.
  const totals = new Set<number | undefined>();
  const options = {
    onProgress: (_: number, total?: number) => totals.add(total),
    expectedBytes: body.length,
  };
  await download(`${origin}/zipped.bin`, options);
  expect([...totals]).toEqual([body.length]);
});

test('an incomplete file says how much arrived', async () => {
  const [kind, message] = await refusal('/onnx/cut.onnx');
  expect(kind).toBe('network');
  expect(message).toMatch(/^onnx\/cut\.onnx is incomplete \(\d\.\d of 4\.1 MB\).*\. Try again\.$/);
  // Complete for the server, but shorter than the caller expects.
  expect(await refusal('/onnx/model.onnx', { expectedBytes: 4_100_000 })).toEqual([
    'network',
    'onnx/model.onnx is incomplete (0.2 of 4.1 MB). Try again.',
  ]);
  expect(await refusal('/onnx/model.onnx', { expectedBytes: 200_001 })).toEqual([
    'network',
    'onnx/model.onnx is incomplete (200,000 of 200,001 bytes). Try again.',
  ]);
});

test('a file that is too long is another version', async () => {
  const [kind, message] = await refusal('/onnx/model.onnx', { expectedBytes: 100 });
  expect([kind, message]).toEqual([
    'model',
    expect.stringContaining('has 200,000 bytes, but 100 were expected'),
  ]);
});

test('a missing file, a private one and a failing server have different errors', async () => {
  expect(await refusal('/onnx/none.onnx?download=1')).toEqual([
    'model',
    "onnx/none.onnx does not exist on the server (HTTP 404). Check the model's name and files.",
  ]);
  expect((await refusal('/closed.bin'))[1]).toContain('is not public (HTTP 403');
  expect(await refusal('/busy.bin')).toEqual([
    'network',
    expect.stringContaining('the server answered HTTP 503 Busy. Try again later.'),
  ]);
});

test('a web page in place of a file is recognised, whatever its content type', async () => {
  for (const path of ['/page.bin', '/disguised.bin']) {
    expect(await refusal(path)).toEqual([
      'model',
      expect.stringContaining(`${path.slice(1)} is a web page: the server has no such file`),
    ]);
  }
});

test('no server at all is a network error', async () => {
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  await expect(download(`http://127.0.0.1:${port}/model.onnx`)).rejects.toMatchObject({
    name: 'ModelFileError',
    kind: 'network',
    message: expect.stringContaining('model.onnx could not be downloaded'),
  });
});

test('an abort throws the caller’s reason, before and during the download', async () => {
  await expect(
    download(`${origin}/slow.bin`, { signal: AbortSignal.abort('enough') }),
  ).rejects.toBe('enough');
  const controller = new AbortController();
  const onProgress = (loaded: number) => loaded > 0 && controller.abort('enough');
  await expect(
    download(`${origin}/slow.bin`, { signal: controller.signal, onProgress }),
  ).rejects.toBe('enough');
});

test('JSON is parsed; anything else is an error that names the file', async () => {
  expect(await downloadJson(`${origin}/config.json`)).toEqual({ n_layer: 2 });
  await expect(downloadJson(`${origin}/broken.json`)).rejects.toThrow(
    /broken\.json is not JSON: .*Use the model's original file\./,
  );
});
