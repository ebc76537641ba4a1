// Inputs that begin as valid ones: arbitraries that change a few places of a JSON value, of bytes
// or of a text.

import fc from 'fast-check';

const DEEP = '@DEEP@';
const DEEP_JSON = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;

/** What no reader expects in a place. */
const HOSTILE: readonly unknown[] = [
  ...[null, true, -1, 0, 1, 0.5, 3, 64, 1e308, -1e308, 2 ** 31, 2 ** 53, 2 ** 63, 1e-320],
  ...['', '0', 'x', '__proto__', 'constructor', '\0\n\u202e', '\ud800', '../..', 'é🐋'],
  ...['x'.repeat(100_000), DEEP, [], {}, [[]], [0, -1], { a: { b: 1 } }, Array(2000).fill(7)],
];
const NAMES = ['__proto__', 'constructor', 'toString', 'length', '', 'x\0', '\u202e', '0'];

type Container = Record<string, unknown>;

/** Every place of a JSON value: what contains it, and its key there. */
function places(value: unknown, found: [Container, string][] = []): [Container, string][] {
  if (typeof value !== 'object' || value === null) return found;
  for (const key of Object.keys(value)) {
    found.push([value as Container, key]);
    places((value as Container)[key], found);
  }
  return found;
}

function put(container: Container, key: string, value: unknown): void {
  Object.defineProperty(container, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

/** The text of a valid JSON value with up to three places changed. */
export function jsonText(valid: unknown): fc.Arbitrary<string> {
  const change = fc.record({
    kind: fc.constantFrom('replace', 'replace', 'swap', 'remove', 'add'),
    at: fc.nat(),
    other: fc.nat(),
    value: fc.constantFrom(...HOSTILE),
    name: fc.constantFrom(...NAMES),
  });
  return fc.array(change, { maxLength: 3 }).map((changes) => {
    const whole: Container = { root: structuredClone(valid) };
    for (const { kind, at, other, value, name } of changes) {
      const all = places(whole);
      if (all.length === 0) break;
      const [container, key] = all[at % all.length];
      const [from, fromKey] = all[other % all.length];
      if (kind === 'replace') put(container, key, structuredClone(value));
      else if (kind === 'swap') put(container, key, structuredClone(from[fromKey]));
      else if (kind === 'remove' && !Array.isArray(container)) delete container[key];
      else {
        const key = Array.isArray(container) ? String(container.length) : name;
        put(container, key, structuredClone(value));
      }
    }
    return (JSON.stringify(whole.root) ?? 'null').replaceAll(`"${DEEP}"`, DEEP_JSON);
  });
}

const EXTREMES = [0, 1, 7, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

/** Valid bytes with up to four changes: bits, numbers, cuts, and parts that come again. */
export function bytesLike(valid: Uint8Array): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const change = fc.record({
    kind: fc.constantFrom('bit', 'bit', 'byte', 'number', 'cut', 'remove', 'insert', 'repeat'),
    at: fc.nat(),
    length: fc.oneof(fc.nat(16), fc.nat(2000)),
    value: fc.constantFrom(...EXTREMES),
    bytes: fc.uint8Array({ maxLength: 16 }),
  });
  return fc.array(change, { maxLength: 4 }).map((changes) => {
    let bytes = new Uint8Array(valid);
    for (const { kind, at: anywhere, length, value, bytes: inserted } of changes) {
      if (bytes.length === 0) break;
      const at = anywhere % bytes.length;
      const join = (...parts: Uint8Array[]) => {
        bytes = new Uint8Array(Buffer.concat(parts));
      };
      if (kind === 'bit') bytes[at] ^= 1 << (value & 7);
      else if (kind === 'byte') bytes[at] = value;
      else if (kind === 'number' && at + 4 <= bytes.length)
        new DataView(bytes.buffer).setUint32(at, value, true);
      else if (kind === 'cut') bytes = bytes.slice(0, at);
      else if (kind === 'remove') join(bytes.subarray(0, at), bytes.subarray(at + length));
      else if (kind === 'insert') join(bytes.subarray(0, at), inserted, bytes.subarray(at));
      else if (kind === 'repeat')
        join(
          bytes.subarray(0, at + length),
          bytes.subarray(at, at + length),
          bytes.subarray(at + length),
        );
    }
    return bytes;
  });
}

/** A valid text with up to four changes; `pieces` are what its format is made of. */
export function textLike(valid: string, pieces: readonly string[]): fc.Arbitrary<string> {
  const piece = fc.oneof(
    fc.constantFrom(...pieces),
    fc.constantFrom(
      '\0',
      '\n',
      '\u202e',
      '\ud800',
      '%',
      '%ZZ',
      '🐋',
      '9'.repeat(400),
      'x'.repeat(5000),
    ),
    fc.string({ maxLength: 8 }),
  );
  const change = fc.record({
    at: fc.nat(),
    length: fc.nat(12),
    piece,
    times: fc.constantFrom(1, 1, 1, 300),
  });
  return fc.array(change, { maxLength: 4 }).map((changes) => {
    let text = valid;
    for (const { at: anywhere, length, piece: inserted, times } of changes) {
      const at = anywhere % (text.length + 1);
      text = text.slice(0, at) + inserted.repeat(times) + text.slice(at + length);
    }
    return text;
  });
}
