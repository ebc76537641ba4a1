// What a run reports, in `metrics.jsonl`: one JSON object per line, first the settings, then every
// step, evaluation and change in the order in which they came. The file only grows, except that a
// resumed run drops the lines after its checkpoint. JSON has no NaN, so NaN is written as null.

import { type Config, isFieldName, isLive, type LiveChanges, twinStep } from '../config';
import type { EvaluationRecord, SampleRecord, StepRecord } from '../distill/records';
import type { ModelIdentities } from './identity';
import { hasShape } from './shape';
import { inFolder, type RunStorage } from './storage';

export const JOURNAL = 'metrics.jsonl';
/** Lines are written together that often, and before each checkpoint. */
const WRITE_MILLISECONDS = 500;
/** Version 1 lacked what says where the models and the data come from. */
export const VERSION = 2;

/** What a run is: the first line. Fields that version 1 lacks are optional. */
export interface RunSettings {
  version: number;
  /** ISO date of the start. */
  time: string;
  link: string;
  config: Config;
  /** Where the command line found models and texts. */
  places?: object;
  adapter: { name: string };
  dtype: 'f16' | 'f32';
  /** The student's config, as its family has it. */
  student: object;
  /** Names the run; its memorable name follows from it. */
  id?: string;
  models?: ModelIdentities;
  /** `sha256` is of all tokens. `own`: the user's, not the built-in book. */
  data?: { name: string; own: boolean; sha256: string };
  /** The user's texts in the run's folder, `text-0` and so on, and how they are read. */
  texts?: { names: string[]; reading: object };
  /** What ran the teacher. */
  engine?: string;
  /** Floating-point operations of a step. */
  stepFlops?: number;
}

/** Live settings changed before this step. */
export interface Change {
  step: number;
  changes: LiveChanges;
}

/** A line of the log that the numbers do not tell. */
export interface Note {
  step: number;
  text: string;
}

/** How long the run has trained. */
export interface Timing {
  step: number;
  /** Trained so far, without pauses, over all sessions. */
  seconds: number;
}

/** A run's journal, read. */
export interface Journal {
  settings?: RunSettings;
  steps: StepRecord[];
  evaluations: EvaluationRecord[];
  /** Between two evaluations. */
  samples: SampleRecord[];
  /** Of the second student, if the run has one. */
  twin: { steps: StepRecord[]; evaluations: EvaluationRecord[] };
  changes: Change[];
  notes: Note[];
  timings: Timing[];
  /** When it was continued, and after which step. */
  resumed: { step: number; time: string }[];
  /** Lines that cannot be read, counted from 1. */
  damaged: number[];
}

type Line = { type: string; step?: number } & Record<string, unknown>;

/**
 * Reads the text of a journal. An unfinished last line is the mark of a killed run and left out; so
 * are damaged lines, which are listed. Where a step comes again, the later one counts.
 */
export function parseJournal(text: string): Journal {
  const journal: Journal = {
    steps: [],
    evaluations: [],
    samples: [],
    twin: { steps: [], evaluations: [] },
    changes: [],
    notes: [],
    timings: [],
    resumed: [],
    damaged: [],
  };
  for (const { line, number } of linesOf(text)) {
    const record = parseLine(line);
    if (!record) {
      journal.damaged.push(number);
      continue;
    }
    const { type, ...rest } = record;
    switch (type) {
      case 'config':
        journal.settings ??= rest as unknown as RunSettings;
        break;
      case 'step':
        journal.steps.push(withNaN(rest) as StepRecord);
        break;
      case 'evaluation':
        journal.evaluations.push(withNaN(rest) as EvaluationRecord);
        break;
      case 'twin-step':
        journal.twin.steps.push(withNaN(rest) as StepRecord);
        break;
      case 'twin-evaluation':
        journal.twin.evaluations.push(withNaN(rest) as EvaluationRecord);
        break;
      case 'sample':
        journal.samples.push(rest as unknown as SampleRecord);
        break;
      case 'changed':
        journal.changes.push(knownChange(rest as unknown as Change));
        break;
      case 'note':
        journal.notes.push(rest as unknown as Note);
        break;
      case 'timing':
        journal.timings.push(rest as unknown as Timing);
        break;
      case 'resumed':
        // It has the settings, too.
        journal.settings ??= rest as unknown as RunSettings;
        journal.resumed.push({ step: Number(rest.step), time: String(rest.time) });
        break;
    }
  }
  return journal;
}

/** Complete lines, counted from 1. */
function* linesOf(text: string): Iterable<{ line: string; number: number }> {
  for (const [i, line] of text.split('\n').slice(0, -1).entries())
    if (line !== '') yield { line, number: i + 1 };
}

/** Undefined if it is not a JSON object with a type and what belongs to it. */
function parseLine(line: string): Line | undefined {
  try {
    const record = JSON.parse(line);
    return typeof record?.type === 'string' && hasShape(record.type, record) ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Without what only a later version can change while a run trains. */
function knownChange({ step, changes }: Change): Change {
  const known = Object.entries(changes).filter(([name]) => isFieldName(name) && isLive(name));
  return { step, changes: Object.fromEntries(known) };
}

function withNaN(record: object): object {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, value === null ? Number.NaN : value]),
  );
}

/** Says which lines of a run's records cannot be read; undefined if all can. */
export const damageOf = ({ damaged }: Journal): string | undefined =>
  damaged.length > 0
    ? `${JOURNAL} is damaged in ${damaged.length > 1 ? 'lines' : 'line'} ${damaged.join(', ')}. ` +
      'What stood there is left out.'
    : undefined;

/** How long a run had trained at a checkpoint, in seconds. */
export const secondsAt = (journal?: Journal, step = 0): number =>
  journal?.timings.findLast((timing) => timing.step <= step)?.seconds ?? 0;

/**
 * Writes a journal. What it is told is appended in order and soon. Where that fails, the lines wait
 * in memory; `flush` tries again, and throws what went wrong.
 */
export class JournalWriter {
  /** The latest of each, including those of a run that is resumed. */
  lastStep: StepRecord | undefined;
  lastEvaluation: EvaluationRecord | undefined;
  lastTwinEvaluation: EvaluationRecord | undefined;
  readonly #path: string;
  /** There is a file to append to. */
  #begun = false;
  #waiting: string[] = [];
  /** What waits is about to be written. */
  #soon = false;
  #writing: Promise<void> | undefined;
  #failure: unknown;

  /** @param folder '' for the storage's root */
  constructor(
    private readonly storage: RunStorage,
    folder: string,
  ) {
    this.#path = inFolder(folder, JOURNAL);
  }

  /** Starts a new file. */
  async begin(settings: Omit<RunSettings, 'version'>): Promise<void> {
    await this.#letGo();
    await this.storage.write(this.#path, [
      encode([asLine('config', { version: VERSION, ...settings })]),
    ]);
    this.#begun = true;
  }

  /**
   * Continues after the checkpoint's `step`. Later lines are removed: their steps run again. What
   * is told from now on waits until this has succeeded; it may be tried again. Damaged lines are
   * left out.
   * @returns what came before
   * @throws the storage's error
   */
  async resume(step: number, settings: Omit<RunSettings, 'version'>): Promise<Journal> {
    if (this.#begun)
      this.#waiting = this.#waiting.filter((line) => (parseLine(line)?.step ?? 0) <= step);
    this.#begun = false;
    await this.#letGo();
    const remaining: string[] = [];
    for (const { line } of linesOf(await this.#text())) {
      const record = parseLine(line);
      if (!record) continue;
      const last = record.type.startsWith('twin-') ? twinStep(settings.config, step) : step;
      if ((record.step ?? 0) > last) continue;
      remaining.push(line);
    }
    const before = parseJournal(remaining.map((line) => `${line}\n`).join(''));
    this.lastStep = before.steps.at(-1);
    this.lastEvaluation = before.evaluations.at(-1);
    this.lastTwinEvaluation = before.twin.evaluations.at(-1);
    remaining.push(asLine('resumed', { step, version: VERSION, ...settings }));
    await this.storage.write(this.#path, [encode(remaining)]);
    this.#begun = true;
    return before;
  }

  step(record: StepRecord): void {
    this.lastStep = record;
    this.#add('step', record);
  }

  evaluation(record: EvaluationRecord): void {
    this.lastEvaluation = record;
    this.#add('evaluation', record);
  }

  twinStep(record: StepRecord): void {
    this.#add('twin-step', record);
  }

  twinEvaluation(record: EvaluationRecord): void {
    this.lastTwinEvaluation = record;
    this.#add('twin-evaluation', record);
  }

  /** A sample between two evaluations. */
  sample(record: SampleRecord): void {
    this.#add('sample', record);
  }

  changed(change: Change): void {
    this.#add('changed', change);
  }

  note(note: Note): void {
    this.#add('note', note);
  }

  timing(timing: Timing): void {
    this.#add('timing', timing);
  }

  /** What the Doctor found after `step`. */
  verdict(step: number, verdict: object): void {
    this.#add('verdict', Object.assign({ step }, verdict));
  }

  /** GPU memory by purpose, in bytes: planned before the run, and measured once it is built. */
  memory(planned: object, measured: object): void {
    this.#add('memory', { planned, measured });
  }

  /** Waits until all is written, and durable. @throws the storage's error */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
    await this.#write();
    if (this.#failure) throw this.#failure;
    await this.storage.flush(this.#path);
  }

  /** What is written so far. */
  async read(): Promise<Journal> {
    await this.flush();
    return parseJournal(await this.#text());
  }

  /** The file is about to be replaced. */
  async #letGo(): Promise<void> {
    while (this.#writing) await this.#writing;
    await this.storage.close(this.#path);
  }

  async #text(): Promise<string> {
    return new TextDecoder().decode(await this.storage.read(this.#path));
  }

  #add(type: string, record: object): void {
    this.#waiting.push(asLine(type, record));
    if (this.#soon) return;
    this.#soon = true;
    setTimeout(() => {
      this.#soon = false;
      if (!this.#failure) void this.#write();
    }, WRITE_MILLISECONDS);
  }

  /** Writes what waits. Never throws. */
  #write(): Promise<void> {
    const write = async () => {
      this.#failure = undefined;
      try {
        while (this.#begun && this.#waiting.length > 0) {
          const batch = [...this.#waiting];
          await this.storage.append(this.#path, encode(batch));
          this.#waiting.splice(0, batch.length);
        }
      } catch (error) {
        this.#failure = error;
      }
    };
    this.#writing ??= write().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }
}

const asLine = (type: string, record: object) => JSON.stringify({ type, ...record });

const encode = (lines: readonly string[]) =>
  new TextEncoder().encode(lines.map((line) => `${line}\n`).join(''));
