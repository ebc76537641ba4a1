// A ghost: the curve of a run, small enough for a link, so that somebody who opens the link sees
// what came of its settings. It has figures and two names; no text, no weights, no settings.
//
// In a link it is base64url, without padding, of these bytes:
//
//     version      1 byte
//     flags        1 byte: FLAGS
//     settings     4 bytes: CRC-32 of the settings' link, so that edited settings are noticed
//     name         varint: bytes of UTF-8; then those
//     adapter      the same
//     targets      varint: targets a step
//     curve        a table with CURVE's columns
//     evaluations  a table with FIGURES' columns
//     check        4 bytes: CRC-32 of everything before it, in every version
//
// A table is a varint with the number of rows, the rows' steps, a byte that says which columns have
// any value (bit 0: the first), and those columns. The steps are varints, each the difference from
// the one before. A column has a varint for each row: 0 for no value, else 1 + the zigzag of the
// difference from the value before. A value x is stored as q = round(scale · ln(1 + 10⁴ · x)), with
// a scale of 512 in the curve and 8192 in evaluations: at most 0.1% and 0.006% off, or 10⁻⁷ near 0.
// Varints have 7 bits a byte, the lowest first; numbers of 4 bytes have the lowest byte first.

import { type Config, FIELDS } from '../config';
import type { EvaluationRecord, StepRecord } from '../distill/records';
import { crc32 } from '../files/crc32';
import { formatLink } from '../link';

const VERSION = 1;
const CURVE = { names: ['loss', 'ce', 'kd', 'seconds'], scale: 512 } as const;
const FIGURES = { names: ['studentPerplexity', 'kl', 'agreement'], scale: 8192 } as const;
const FLAGS = { own: 1, changed: 2 } as const;

/** Kept of longer runs; the curve also has a point at each evaluation. */
const MOST_POINTS = 20;
const MOST_EVALUATIONS = 16;
/** In characters; longer names are cut. */
const LONGEST_NAME = 40;
const LONGEST_ADAPTER = 32;
/** Of a ghost in a link, in characters. Longer ones are refused unread. */
const LONGEST = 2000;
const CHECK_BYTES = 4;
const MOST_ROWS = 255;

const SMALL = 1e-4;
/** Larger ones are no perplexity that anything could measure. */
const LARGEST = 1e300;

/** One point of the curve: means over the steps since the point before it; NaN: no value. */
export type CurvePoint = Pick<StepRecord, 'step' | 'seconds'> &
  Record<'loss' | 'ce' | 'kd', number>;
export type FigurePoint = Pick<EvaluationRecord, 'step' | (typeof FIGURES.names)[number]>;

export interface Ghost {
  /** The run's, and its adapter's. */
  name: string;
  adapter: string;
  /** It read its user's own text. */
  own: boolean;
  /** Its settings were changed while it trained. */
  changed: boolean;
  /** Targets a step. */
  targets: number;
  curve: readonly CurvePoint[];
  evaluations: readonly FigurePoint[];
}

/** The ghost of a run, from all that it reported. */
export function ghostOf(
  { name, adapter, own, changed }: Pick<Ghost, 'name' | 'adapter' | 'own' | 'changed'>,
  steps: readonly Pick<StepRecord, 'step' | 'loss' | 'ce' | 'kd' | 'seconds' | 'tokens'>[],
  evaluations: readonly EvaluationRecord[],
): Ghost {
  const figures = spread(evaluations.length, MOST_EVALUATIONS).map((index): FigurePoint => {
    const { step, studentPerplexity, kl, agreement } = evaluations[index];
    return { step, studentPerplexity, kl, agreement };
  });
  const curve: CurvePoint[] = [];
  let from = 0;
  for (const end of stretches(steps, new Set(figures.map(({ step }) => step)))) {
    const stretch = steps.slice(from, end + 1);
    const mean = (of: 'loss' | 'ce' | 'kd') => meanOf(stretch.map((record) => record[of]));
    const { step, seconds } = steps[end];
    curve.push({ step, loss: mean('loss'), ce: mean('ce'), kd: mean('kd'), seconds });
    from = end + 1;
  }
  return {
    name: cleaned(name, LONGEST_NAME),
    // Drivers append their versions.
    adapter: cleaned(adapter.split(':')[0], LONGEST_ADAPTER),
    own,
    changed,
    targets: Math.round(meanOf(steps.map(({ tokens }) => tokens)) || 0),
    curve,
    evaluations: figures,
  };
}

/**
 * The last index of each stretch of steps that becomes a point: those after which the run was
 * evaluated, and others between them. A stretch is not much shorter than its neighbours, or its
 * mean would be noise.
 */
function stretches(
  steps: readonly { step: number }[],
  evaluated: ReadonlySet<number>,
): readonly number[] {
  const fixed = steps.flatMap(({ step }, index) => (evaluated.has(step) ? [index] : []));
  const between = spread(steps.length, MOST_POINTS).filter((index, i, all) => {
    const room = (index - (all[i - 1] ?? index)) / 2;
    return fixed.every((other) => Math.abs(other - index) >= room);
  });
  return [...new Set([...fixed, ...between])].sort((a, b) => a - b);
}

/** At most `most` of the indices below `count`, with the first and the last, dense at the start. */
function spread(count: number, most: number): number[] {
  if (count <= most) return Array.from({ length: count }, (_, index) => index);
  const at = (i: number) => Math.round((count - 1) * (i / (most - 1)) ** 2);
  return [...new Set(Array.from({ length: most }, (_, i) => at(i)))];
}

/** Of the finite values; NaN if there is none. */
function meanOf(values: readonly number[]): number {
  const finite = values.filter(Number.isFinite);
  return finite.reduce((sum, value) => sum + value, 0) / finite.length;
}

/** Without characters that are not seen, or that turn others round, and not longer than `most`. */
const cleaned = (text: string, most: number) =>
  [...text.replaceAll(/\p{C}/gu, '')].slice(0, most).join('').trim();

/** A ghost as a link has it. `config`: the settings of its run. */
export function formatGhost(ghost: Ghost, config: Config): string {
  const bytes: number[] = [VERSION];
  bytes.push((ghost.own ? FLAGS.own : 0) | (ghost.changed ? FLAGS.changed : 0));
  bytes.push(...u32(settingsCheck(config)));
  for (const text of [ghost.name, ghost.adapter]) {
    const encoded = new TextEncoder().encode(text);
    bytes.push(...varint(encoded.length), ...encoded);
  }
  bytes.push(...varint(ghost.targets));
  bytes.push(...table(ghost.curve, CURVE), ...table(ghost.evaluations, FIGURES));
  bytes.push(...u32(crc32(Uint8Array.from(bytes))));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

/**
 * Reads a link's ghost. `fits`: its run had these settings; false for a link that was edited.
 * `problem`: why there is no ghost, as sentences for the page.
 */
export function parseGhost(
  text: string,
  config: Config,
): { ghost: Ghost; fits: boolean } | { problem: string } {
  const bytes = decoded(text);
  if (!bytes || bytes.length <= CHECK_BYTES) return { problem: DAMAGED };
  const end = bytes.length - CHECK_BYTES;
  const body = bytes.subarray(0, end);
  if (new Reader(bytes.subarray(end)).u32() !== crc32(body)) return { problem: DAMAGED };
  const reader = new Reader(body);
  const version = reader.byte();
  if (version > VERSION) {
    return {
      problem:
        `It has version ${version}, and this page reads up to ${VERSION}: it was made by a newer ` +
        'Stillhouse. Reload the page to update it.',
    };
  }
  try {
    return read(reader, config);
  } catch (error) {
    // Whoever made this link made its checksum, too.
    if (error instanceof GhostError) return { problem: DAMAGED };
    throw error;
  }
}

const DAMAGED =
  'It is damaged: a part of the link is missing or changed. Ask for the link again, and copy it ' +
  'whole.';

function read(reader: Reader, config: Config): { ghost: Ghost; fits: boolean } {
  const flags = reader.byte();
  const fits = reader.u32() === settingsCheck(config);
  const ghost: Ghost = {
    name: cleaned(reader.text(), LONGEST_NAME),
    adapter: cleaned(reader.text(), LONGEST_ADAPTER),
    own: (flags & FLAGS.own) !== 0,
    changed: (flags & FLAGS.changed) !== 0,
    targets: reader.varint(),
    curve: readTable(reader, CURVE).map(({ loss = NaN, ce = NaN, kd = NaN, ...row }) => {
      return { ...row, loss, ce, kd };
    }),
    evaluations: readTable(reader, FIGURES),
  };
  if (!reader.done) throw new GhostError();
  return { ghost, fits };
}

/** What was read cannot be a ghost. */
class GhostError extends Error {}

const settingsCheck = (config: Config) => crc32(new TextEncoder().encode(formatLink(config)));

const quantised = (value: number, scale: number) =>
  Math.round(scale * Math.log1p(Math.min(Math.max(0, value), LARGEST) / SMALL));

const restored = (q: number, scale: number) => SMALL * Math.expm1(q / scale);

interface Columns<Name extends string> {
  names: readonly Name[];
  scale: number;
}
type Row<Name extends string> = { step: number } & Partial<Record<Name, number>>;

function table<Name extends string>(
  rows: readonly Row<Name>[],
  { names, scale }: Columns<Name>,
): number[] {
  const bytes = varint(rows.length);
  let before = 0;
  for (const { step } of rows) {
    bytes.push(...varint(step - before));
    before = step;
  }
  const columns = names.map((name) =>
    rows.map(({ [name]: value }): number | null =>
      Number.isFinite(value) ? quantised(value as number, scale) : null,
    ),
  );
  const present = columns.map((column) => column.some((q) => q !== null));
  bytes.push(present.reduce((bits, is, i) => bits | (is ? 1 << i : 0), 0));
  for (const column of columns.filter((_, i) => present[i])) {
    let last = 0;
    for (const q of column) {
      bytes.push(...varint(q === null ? 0 : 1 + zigzag(q - last)));
      last = q ?? last;
    }
  }
  return bytes;
}

function readTable<Name extends string>(
  reader: Reader,
  { names, scale }: Columns<Name>,
): Row<Name>[] {
  const count = reader.varint();
  if (count > MOST_ROWS) throw new GhostError();
  const rows: Row<Name>[] = [];
  let step = 0;
  for (let i = 0; i < count; i++) {
    const difference = reader.varint();
    if (i > 0 && difference === 0) throw new GhostError();
    step += difference;
    rows.push({ step } as Row<Name>);
  }
  if (step > FIELDS.train_steps.max) throw new GhostError();
  const present = reader.byte();
  for (const [i, name] of names.entries()) {
    if ((present & (1 << i)) === 0) continue;
    let last = 0;
    for (const row of rows) {
      const code = reader.varint();
      if (code === 0) continue;
      last += unzigzag(code - 1);
      if (last < 0 || last > quantised(LARGEST, scale)) throw new GhostError();
      Object.assign(row, { [name]: restored(last, scale) });
    }
  }
  return rows;
}

/** Small numbers for differences near 0: 0, −1, 1, −2 become 0, 1, 2, 3. */
const zigzag = (difference: number) => (difference < 0 ? -2 * difference - 1 : 2 * difference);
const unzigzag = (code: number) => (code % 2 === 1 ? -(code + 1) / 2 : code / 2);

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push(128 | (rest & 127));
  bytes.push(rest);
  return bytes;
}

const u32 = (value: number) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 255);

/** Undefined if it is no base64url, or not as formatGhost writes it. */
function decoded(text: string): Uint8Array | undefined {
  if (text.length > LONGEST || !/^[\w-]+$/.test(text) || text.length % 4 === 1) return undefined;
  const base64 = text.replaceAll('-', '+').replaceAll('_', '/');
  const binary = atob(base64);
  // The last character may have bits that no byte takes.
  if (btoa(binary).replaceAll('=', '') !== base64) return undefined;
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Reads numbers from bytes. @throws GhostError at their end */
class Reader {
  #at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  get done(): boolean {
    return this.#at === this.bytes.length;
  }

  byte(): number {
    if (this.done) throw new GhostError();
    return this.bytes[this.#at++];
  }

  u32(): number {
    return [0, 8, 16, 24].reduce((sum, shift) => (sum | (this.byte() << shift)) >>> 0, 0);
  }

  varint(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 32; factor *= 128) {
      const byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new GhostError();
  }

  text(): string {
    const length = this.varint();
    const bytes = this.bytes.subarray(this.#at, this.#at + length);
    if (bytes.length !== length) throw new GhostError();
    this.#at += length;
    return new TextDecoder().decode(bytes);
  }
}
