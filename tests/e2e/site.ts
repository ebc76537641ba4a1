// A small static server for the built page, as plain as a host can be: real 404s, any sub-path, and
// files that can be made to misbehave. No header that a static host would not send.

import { readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

/** How a file misbehaves. */
export type Fault =
  /** The connection closes after so many bytes of what was announced. */
  | { kind: 'cut'; bytes: number }
  /**
   * Fewer bytes than the file has, announced as the whole: a copy that was cut short when it was
   * made.
   */
  | { kind: 'short'; bytes: number }
  /** Half of it comes at once, the rest when the promise is resolved. */
  | { kind: 'halting'; until: Promise<void> }
  | { kind: 'missing' }
  /** A single-page host's answer to everything that is not there. */
  | { kind: 'html' };

export interface Site {
  /** Address of the page, ending in a slash. */
  url: string;
  /** By path below `url`, e.g. 'models/moby-teacher/config.json'. May be changed at any time. */
  faults: Map<string, Fault>;
  /** Served in place of the folder's file of that path. May be changed at any time. */
  files: Map<string, Buffer>;
  /** Paths asked for, in order. */
  requests: string[];
  close(): Promise<void>;
}

const CUT_AFTER_MILLISECONDS = 200;

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.webp': 'image/webp',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
};

/**
 * Serves a folder on a free port of 127.0.0.1.
 * @param folder default: dist/, which must have been built
 * @param base the sub-path that the folder appears under, with slashes at both ends
 * @param likePreview answers ranges, and compresses everything else, as `npm start` does
 */
export async function serveSite({
  folder = 'dist',
  base = '/',
  likePreview = false,
} = {}): Promise<Site> {
  const faults = new Map<string, Fault>();
  const files = new Map<string, Buffer>();
  const requests: string[] = [];
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://site');
    const path =
      decodeURIComponent(pathname.startsWith(base) ? pathname.slice(base.length) : '') ||
      'index.html';
    requests.push(path);
    const inside = pathname.startsWith(base) && !normalize(path).startsWith('..');
    const read = async () => files.get(path) ?? (await readFile(join(folder, path)));
    const bytes = inside ? await read().catch(() => undefined) : undefined;
    const fault = faults.get(path);
    if (likePreview && bytes && !fault) {
      answerLikePreview(response, path, bytes, request.headers.range);
      return;
    }
    await answer(response, path, bytes, fault).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${base}`,
    faults,
    files,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answerLikePreview(
  response: ServerResponse,
  path: string,
  file: Buffer,
  range: string | undefined,
): void {
  const headers = { 'content-type': TYPES[extname(path)] ?? '' };
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
  if (from === undefined) {
    // In pieces, so that no length is announced.
    response.writeHead(200, { ...headers, 'content-encoding': 'gzip' });
    response.write(gzipSync(file, { level: 1 }));
    response.end();
    return;
  }
  const last = to ? Number(to) : file.length - 1;
  const part = file.subarray(Number(from), last + 1);
  response
    .writeHead(206, {
      ...headers,
      'content-length': part.length,
      'content-range': `bytes ${from}-${last}/${file.length}`,
    })
    .end(part);
}

async function answer(
  response: ServerResponse,
  path: string,
  file: Buffer | undefined,
  fault?: Fault,
): Promise<void> {
  if (fault?.kind === 'html') {
    response
      .writeHead(200, { 'content-type': TYPES['.html'] })
      .end('<!doctype html><title>A page</title>');
    return;
  }
  if (!file || fault?.kind === 'missing') {
    response.writeHead(404, { 'content-type': 'text/plain' }).end(`There is no ${path} here.\n`);
    return;
  }
  const bytes = fault?.kind === 'short' ? file.subarray(0, fault.bytes) : file;
  response.writeHead(200, {
    'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
    'content-length': bytes.length,
  });
  const send = (part: Buffer) => new Promise((resolve) => response.write(part, resolve));
  if (fault?.kind === 'cut') {
    await send(bytes.subarray(0, fault.bytes));
    // What a client has not read yet when the connection breaks is lost to it.
    await wait(CUT_AFTER_MILLISECONDS);
    response.destroy();
    return;
  }
  if (fault?.kind === 'halting') {
    const half = bytes.length >> 1;
    await send(bytes.subarray(0, half));
    await fault.until;
    response.end(bytes.subarray(half));
    return;
  }
  response.end(bytes);
}
