// The Content-Security-Policy of the built page, as a Vite plugin: what the page and its worker may
// load and ask, and nothing else. It stands in the page itself, because a static host sends no
// headers of ours.

import { createHash } from 'node:crypto';
import type { Plugin } from 'vite';

/** The hub, and where it redirects to for the bytes of large files. */
const HUB = ['https://huggingface.co', 'https://*.huggingface.co', 'https://*.hf.co'];

const DIRECTIVES: Record<string, string[]> = {
  'default-src': ["'none'"],
  // onnxruntime compiles WebAssembly. The hashes of the page's own inline scripts are added.
  'script-src': ["'self'", "'wasm-unsafe-eval'"],
  // The worker begins as a blob, which has the page's policy (app/shared/client.ts).
  'worker-src': ["'self'", 'blob:'],
  'connect-src': ["'self'", ...HUB],
  'style-src': ["'self'"],
  // Charts become pictures by way of a blob.
  'img-src': ["'self'", 'blob:', 'data:'],
  'font-src': ["'self'"],
  // `?states` shows the page's designed states in frames.
  'frame-src': ["'self'"],
  'manifest-src': ["'self'"],
  'base-uri': ["'none'"],
  'form-action': ["'none'"],
};

const INLINE_SCRIPT = /<script>([\s\S]*?)<\/script>/g;

/** Adds the policy to a page, before anything that it governs. */
function withPolicy(html: string): string {
  const hashes = [...html.matchAll(INLINE_SCRIPT)].map(
    ([, script]) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  );
  const policy = Object.entries(DIRECTIVES)
    .map(([name, sources]) =>
      [name, ...sources, ...(name === 'script-src' ? hashes : [])].join(' '),
    )
    .join('; ');
  const meta = `<meta http-equiv="Content-Security-Policy" content="${policy}">`;
  return html.replace('<meta charset="utf-8">', `$&\n    ${meta}`);
}

export function contentSecurityPolicy(): Plugin {
  return {
    name: 'stillhouse-policy',
    apply: 'build',
    enforce: 'post',
    transformIndexHtml: { order: 'post', handler: withPolicy },
  };
}
