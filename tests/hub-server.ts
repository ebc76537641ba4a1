// A model hub on this machine: /org/name/resolve/revision/file with HEAD, ranges and a redirect to
// where the bytes lie, and every way in which a server or a connection goes wrong. Not the page's
// own host; that is e2e/site.ts.

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/** How a file's answers go wrong. */
export type HubFault =
  /**
   * The connection closes after so many bytes of each of the first `times` answers; always, without
   * `times`.
   */
  | { kind: 'cut'; bytes: number; times?: number }
  /** The file is announced so many bytes longer than it is. */
  | { kind: 'longer'; bytes: number }
  | { kind: 'slow'; milliseconds: number }
  /** The whole file, whatever range is asked for. */
  | { kind: 'no-ranges' }
  /** As no-ranges, and without a length. */
  | { kind: 'no-length' }
  /** Bytes from another place than asked for. */
  | { kind: 'wrong-range' }
  | { kind: 'html' }
  /** A page that calls itself bytes. */
  | { kind: 'disguised-html' }
  | { kind: 'status'; status: number; times?: number; code?: string }
  /** Says nothing. */
  | { kind: 'silent'; times?: number }
  /** Other bytes of the same length, under another ETag, from the second answer on. */
  | { kind: 'changes' }
  /** Other bytes under the same ETag: whoever reads them has kept nothing. */
  | { kind: 'garbled' };

export interface Hub {
  url: string;
  /** "org/name@revision/file" to its bytes. May be changed at any time. */
  files: Map<string, Uint8Array>;
  faults: Map<string, HubFault>;
  /** What a model's pull requests are listed as. */
  discussions: Map<string, unknown>;
  /** "GET org/name@revision/file bytes=0-" for each answer that was asked for, redirects apart. */
  requests: string[];
  /** Bytes sent of files. */
  sent(): number;
  close(): Promise<void>;
}

/** What a client has not read yet when the connection breaks is lost to it. */
const CUT_AFTER_MILLISECONDS = 30;

export async function serveHub(): Promise<Hub> {
  const files = new Map<string, Uint8Array>();
  const faults = new Map<string, HubFault>();
  const discussions = new Map<string, unknown>();
  const requests: string[] = [];
  const times = new Map<string, number>();
  let sent = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://hub').pathname);
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader(
      'access-control-expose-headers',
      'Content-Range, Content-Length, ETag, X-Error-Code',
    );
    response.setHeader('access-control-allow-headers', 'Range');
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    const asked = /^\/((?:[^/]+\/)?[^/]+)\/resolve\/(.+?)\/([^/]+|onnx\/[^/]+)$/.exec(path);
    if (asked) {
      // As the hub does: the address of the file leads to where its bytes lie.
      const to = `/bytes/${encodeURIComponent(`${asked[1]}@${asked[2]}/${asked[3]}`)}`;
      return void response.writeHead(302, { location: to }).end();
    }
    const [, discussed] = /^\/api\/models\/(.+)\/discussions$/.exec(path) ?? [];
    if (discussed) {
      const listed = discussions.get(discussed);
      if (listed === undefined) return void response.writeHead(404).end();
      return void response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify(listed));
    }
    const name = path.slice('/bytes/'.length);
    requests.push(`${request.method} ${name} ${request.headers.range ?? 'whole'}`);
    const served = (times.get(name) ?? 0) + 1;
    times.set(name, served);
    const fault = faults.get(name);
    const now =
      fault && (!('times' in fault) || served <= (fault.times ?? Number.POSITIVE_INFINITY))
        ? fault
        : undefined;

    if (now?.kind === 'slow') await wait(now.milliseconds);
    if (now?.kind === 'silent') return;
    if (now?.kind === 'html') {
      return void response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><title>Hub</title>');
    }
    if (now?.kind === 'status') {
      return void response
        .writeHead(now.status, now.code ? { 'x-error-code': now.code } : {})
        .end();
    }
    let bytes =
      now?.kind === 'disguised-html'
        ? new TextEncoder().encode('<!doctype html>')
        : files.get(name);
    if (!bytes) {
      const model = name.slice(0, name.indexOf('@'));
      const known = [...files.keys()].some((file) => file.startsWith(`${model}@`));
      return void response
        .writeHead(known ? 404 : 401, { 'x-error-code': known ? 'EntryNotFound' : 'RepoNotFound' })
        .end();
    }
    let tag = `"${createHash('sha1').update(bytes).digest('hex')}"`;
    if (now?.kind === 'garbled') bytes = new Uint8Array(bytes.length).fill(255);
    if (now?.kind === 'changes' && served > 1) {
      bytes = bytes.map((byte) => byte ^ 1);
      tag = '"changed"';
    }
    const total = bytes.length + (now?.kind === 'longer' ? now.bytes : 0);
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const whole = !range || now?.kind === 'no-ranges' || now?.kind === 'no-length';
    const start = whole
      ? 0
      : Number(range[1]) + (now?.kind === 'wrong-range' && Number(range[1]) > 0 ? 7 : 0);
    const end = whole || range[2] === '' ? total : Math.min(Number(range[2]) + 1, total);
    if (start >= total || start >= bytes.length) {
      return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
    }
    response.writeHead(whole ? 200 : 206, {
      'content-type': 'application/octet-stream',
      etag: tag,
      ...(now?.kind !== 'no-length' && { 'content-length': end - start }),
      ...(!whole && { 'content-range': `bytes ${start}-${end - 1}/${total}` }),
    });
    if (request.method === 'HEAD') return void response.end();
    const body = bytes.subarray(
      start,
      now?.kind === 'cut' ? Math.min(start + now.bytes, end) : end,
    );
    sent += body.length;
    const breaks = body.length < end - start;
    await new Promise((resolve) => response.write(body, resolve));
    if (breaks) {
      await wait(CUT_AFTER_MILLISECONDS);
      response.destroy();
    } else response.end();
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    faults,
    discussions,
    requests,
    sent: () => sent,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
