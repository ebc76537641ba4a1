// A local model hub: /org/name/resolve/revision/file with HEAD, ranges and a redirect to the bytes,
// and every way in which a server or a connection can fail. The page's own host is e2e/site.ts.

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/** How the responses for a file fail. */
export type HubFault =
  /**
   * Closes the connection after `bytes`, in the first `times` responses; in all, without `times`.
   */
  | { kind: 'cut'; bytes: number; times?: number }
  /** Announces the file `bytes` longer than it is. */
  | { kind: 'longer'; bytes: number }
  | { kind: 'slow'; milliseconds: number }
  /** Sends the whole file for any range. */
  | { kind: 'no-ranges' }
  /** Like no-ranges, and without a length; closes the connection after `bytes`, if given. */
  | { kind: 'no-length'; bytes?: number; times?: number }
  /** Sends one byte at a time. */
  | { kind: 'trickle'; milliseconds: number }
  /** Flips one bit on the way. */
  | { kind: 'flipped'; byte: number }
  /** Sends bytes from another position than requested. */
  | { kind: 'wrong-range' }
  | { kind: 'html' }
  /** A web page labelled as bytes. */
  | { kind: 'disguised-html' }
  | { kind: 'status'; status: number; times?: number; code?: string; retryAfter?: number }
  /** Never answers. */
  | { kind: 'silent'; times?: number }
  /** From the second response on, other bytes of the same length with another ETag. */
  | { kind: 'changes' }
  /** Other bytes with the same ETag: a client that gets them did not use its cache. */
  | { kind: 'garbled' };

export interface Hub {
  url: string;
  /** Bytes by "org/name@revision/file". May be changed at any time. */
  files: Map<string, Uint8Array>;
  faults: Map<string, HubFault>;
  /** The response to a request for a model's discussions. */
  discussions: Map<string, unknown>;
  /** "GET org/name@revision/file bytes=0-" for each request, without redirects. */
  requests: string[];
  /** Bytes of files sent so far. */
  sent(): number;
  close(): Promise<void>;
}

/** Of every model. */
export const COMMIT = '0123456789abcdef0123456789abcdef01234567';
/** Gives the client time to read, because it loses unread bytes when the connection breaks. */
const CUT_AFTER_MILLISECONDS = 30;

/** A file as the hub lists it: with git's name for a text, and SHA-256 for anything else. */
function treeEntry(path: string, bytes: Uint8Array): object {
  const git = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  const lfs = { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length };
  const entry = { type: 'file', path, oid: git, size: bytes.length };
  return /\.(json|txt)$/.test(path) ? entry : { ...entry, lfs };
}

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
      'Content-Range, Content-Length, ETag, X-Error-Code, X-Repo-Commit',
    );
    response.setHeader('access-control-allow-headers', 'Range');
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    const match = /^\/((?:[^/]+\/)?[^/]+)\/resolve\/(.+?)\/([^/]+|onnx\/[^/]+)$/.exec(path);
    if (match) {
      // The hub, too, redirects to where the bytes are.
      const to = `/bytes/${encodeURIComponent(`${match[1]}@${match[2]}/${match[3]}`)}`;
      return void response.writeHead(302, { location: to }).end();
    }
    const [, of, revision] = /^\/api\/models\/(.+)\/tree\/(.+)$/.exec(path) ?? [];
    if (of !== undefined) {
      const start = `${of}@${revision}/`;
      const tree = [...files].flatMap(([name, bytes]) =>
        name.startsWith(start) ? [treeEntry(name.slice(start.length), bytes)] : [],
      );
      return void response
        .writeHead(tree.length > 0 ? 200 : 404, { 'content-type': 'application/json' })
        .end(JSON.stringify(tree));
    }
    const [, model] = /^\/api\/models\/(.+)\/discussions$/.exec(path) ?? [];
    if (model) {
      const body = discussions.get(model);
      if (body === undefined) return void response.writeHead(404).end();
      return void response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify(body));
    }
    const name = path.slice('/bytes/'.length);
    requests.push(`${request.method} ${name} ${request.headers.range ?? 'whole'}`);
    const served = (times.get(name) ?? 0) + 1;
    times.set(name, served);
    const fault = faults.get(name);
    const active =
      fault && (!('times' in fault) || served <= (fault.times ?? Number.POSITIVE_INFINITY))
        ? fault
        : undefined;

    if (active?.kind === 'slow') await wait(active.milliseconds);
    if (active?.kind === 'silent') return;
    if (active?.kind === 'html') {
      return void response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><title>Hub</title>');
    }
    if (active?.kind === 'status') {
      if (active.code) response.setHeader('x-error-code', active.code);
      if (active.retryAfter) response.setHeader('retry-after', active.retryAfter);
      return void response.writeHead(active.status).end();
    }
    let bytes =
      active?.kind === 'disguised-html'
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
    if (active?.kind === 'flipped')
      bytes = bytes.map((byte, i) => (i === active.byte ? byte ^ 16 : byte));
    if (active?.kind === 'garbled') bytes = new Uint8Array(bytes.length).fill(255);
    if (active?.kind === 'changes' && served > 1) {
      bytes = bytes.map((byte) => byte ^ 1);
      tag = '"changed"';
    }
    const total = bytes.length + (active?.kind === 'longer' ? active.bytes : 0);
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const all = !range || active?.kind === 'no-ranges' || active?.kind === 'no-length';
    const start = all
      ? 0
      : Number(range[1]) + (active?.kind === 'wrong-range' && Number(range[1]) > 0 ? 7 : 0);
    const end = all || range[2] === '' ? total : Math.min(Number(range[2]) + 1, total);
    if (start >= total || start >= bytes.length) {
      return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
    }
    response.writeHead(all ? 200 : 206, {
      'content-type': 'application/octet-stream',
      etag: tag,
      'x-repo-commit': COMMIT,
      ...(active?.kind !== 'no-length' && { 'content-length': end - start }),
      ...(!all && { 'content-range': `bytes ${start}-${end - 1}/${total}` }),
    });
    if (request.method === 'HEAD') return void response.end();
    if (active?.kind === 'trickle') {
      for (let at = start; at < end && !response.destroyed; at++) {
        response.write(bytes.subarray(at, at + 1));
        await wait(active.milliseconds);
      }
      return void response.end();
    }
    const cut = active && 'bytes' in active && active.kind !== 'longer' ? active.bytes : undefined;
    const body = bytes.subarray(start, cut === undefined ? end : Math.min(start + cut, end));
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
