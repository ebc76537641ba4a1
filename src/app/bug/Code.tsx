// The code beside the replay: the story's PyTorch script, and our kernel, which takes offset and
// strides. The reports mark the lines that ran, raised or copied.

import { useState } from 'react';
import compareWgsl from '../../kernels/compare.wgsl?raw';
import type { LossPath } from '../../worker/protocol';
import { formatBytes } from '../shared/format';
import { isAddressing, storyCode, viewOutcome } from './listing';
import { totalsOf } from './script';
import type { Settings } from './settings';
import type { BugLabRun } from './store';

export function Code({ run, settings }: { run?: BugLabRun; settings: Settings<'replay'> }) {
  return (
    <section className="bug-code" aria-label="The code">
      <ScriptListing run={run} settings={settings} />
      <KernelListing run={run} />
    </section>
  );
}

/** What a column's reports say about its line. */
interface LineMark {
  text: string;
  problem: boolean;
}

/** The note at a column's line: what it did, or that it is running. */
function markOf(run: BugLabRun | undefined, path: LossPath): LineMark | undefined {
  const column = run?.columns[path];
  if (!run || !column) return undefined;
  if (run.state === 'running' && !column.ended && totalsOf(column).firstError === undefined)
    return { text: 'running', problem: false };
  const { failed, tried, raised, steps, bytesCopied } = totalsOf(column);
  if (column.ended?.error !== undefined)
    return { text: 'raised and stopped the script', problem: true };
  if (failed > 0 || raised > 0) {
    const where = [
      failed > 0 && `${failed} of ${tried} batches`,
      raised > 0 && `${raised} of ${steps} steps`,
    ];
    return { text: `raised in ${where.filter(Boolean).join(', ')}`, problem: true };
  }
  return { text: `worked, ${formatBytes(bytesCopied)} copied`, problem: false };
}

function ScriptListing({ run, settings }: { run?: BugLabRun; settings: Settings<'replay'> }) {
  const outcome = viewOutcome(Number(settings.batch), Number(settings.context));
  const notes = {
    refused: 'No strides describe this shape, so view raises.',
    contiguous: 'At these sizes the slice is contiguous, so view works.',
    strided: 'At these sizes view works, but its rows are not adjacent in memory.',
  };
  return (
    <figure>
      <figcaption>
        <h2>
          The script{' '}
          <span className="unit">PyTorch, with one of the marked lines or our kernel</span>
        </h2>
      </figcaption>
      <pre tabIndex={0} className="listing">
        {storyCode(settings).map((line) => (
          <ListingLine
            key={line.text}
            text={line.text}
            mark={line.path && (markOf(run, line.path) ?? true)}
          />
        ))}
      </pre>
      <p className="help">{notes[outcome]}</p>
    </figure>
  );
}

/** `mark` is true for a line of interest that has not been run. */
function ListingLine({
  text,
  mark,
  number,
}: {
  text: string;
  mark?: LineMark | true;
  number?: number;
}) {
  const state =
    mark === undefined
      ? ''
      : mark === true
        ? ' marked'
        : mark.problem
          ? ' marked raised'
          : ' marked worked';
  const margin = ' '.repeat(text.search(/\S|$/) + (number === undefined ? 0 : 4));
  return (
    <span className={`code-line${state}`}>
      {number !== undefined && <span className="line-number">{String(number).padStart(3)} </span>}
      {mark ? <mark>{text}</mark> : text}
      {'\n'}
      {typeof mark === 'object' && (
        <span className="line-note">
          {margin}↳ {mark.text}
          {'\n'}
        </span>
      )}
    </span>
  );
}

const LINES = compareWgsl.trimEnd().split('\n');
/** The excerpt that computes each element's address. */
const START = LINES.findIndex((line) => line.includes('@compute'));
const END = LINES.findIndex((line, at) => at > START && line.includes('best = row_best'));

function KernelListing({ run }: { run?: BugLabRun }) {
  const [wholeFile, setWholeFile] = useState(false);
  const mark = markOf(run, 'strided');
  const first = wholeFile ? 0 : START;
  const lines = LINES.slice(first, wholeFile ? undefined : END + 1);
  const lastMarked = lines.findLastIndex(isAddressing);
  return (
    <figure>
      <figcaption>
        <h2>
          Our kernel <span className="unit">WGSL: kernels/compare.wgsl, for evaluation</span>
        </h2>
        <button
          type="button"
          className="tool"
          aria-pressed={wholeFile}
          onClick={() => setWholeFile(!wholeFile)}
        >
          whole file
        </button>
      </figcaption>
      <pre tabIndex={0} className={wholeFile ? 'listing whole' : 'listing'}>
        {lines.map((line, index) => (
          <ListingLine
            // biome-ignore lint/suspicious/noArrayIndexKey: a line is identified by its number
            key={first + index}
            number={first + index + 1}
            text={line}
            mark={isAddressing(line) ? (index === lastMarked && mark ? mark : true) : undefined}
          />
        ))}
      </pre>
      <p className="help">
        The marked lines compute every address from an offset and strides. A slice only changes
        those numbers, so nothing is copied and nothing can raise.
      </p>
    </figure>
  );
}
