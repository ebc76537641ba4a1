// The code beside the replay: PyTorch as the story had it, and our kernel, which is given offset
// and strides. What ran, raised or copied is marked by the reports.

import { useState } from 'react';
import compareWgsl from '../../kernels/compare.wgsl?raw';
import type { LossPath } from '../../worker/protocol';
import { formatBytes } from '../shared/format';
import { isAddressing, storyCode, viewOutcome } from './listing';
import { totalsOf } from './script';
import type { Settings } from './settings';
import type { LabRun } from './store';

export function Code({ run, settings }: { run?: LabRun; settings: Settings<'replay'> }) {
  return (
    <section className="bug-code" aria-label="The code">
      <Torch run={run} settings={settings} />
      <Kernel run={run} />
    </section>
  );
}

interface MarkText {
  text: string;
  problem: boolean;
}

/** What a column did, said at its line; while it runs, that it runs. */
function markOf(run: LabRun | undefined, path: LossPath): MarkText | undefined {
  const column = run?.columns[path];
  if (!run || !column) return undefined;
  if (run.state === 'running' && !column.ended && totalsOf(column).firstError === undefined)
    return { text: 'runs now', problem: false };
  const { failed, tried, raised, steps, bytesCopied } = totalsOf(column);
  if (column.ended?.error !== undefined)
    return { text: 'raised, and stopped the script', problem: true };
  if (failed > 0 || raised > 0) {
    const where = [
      failed > 0 && `${failed} of ${tried} batches`,
      raised > 0 && `${raised} of ${steps} steps`,
    ];
    return { text: `raised in ${where.filter(Boolean).join(', ')}`, problem: true };
  }
  return { text: `worked, ${formatBytes(bytesCopied)} copied`, problem: false };
}

function Torch({ run, settings }: { run?: LabRun; settings: Settings<'replay'> }) {
  const outcome = viewOutcome(Number(settings.batch), Number(settings.context));
  const said = {
    refused: 'At these sizes view has no strides to give, and raises.',
    contiguous: 'At these sizes the slice is contiguous, and view works.',
    strided: 'At these sizes view works, and its rows are not side by side.',
  };
  return (
    <figure>
      <figcaption>
        <h2>
          The script <span className="unit">PyTorch: one of the two marked lines, or ours</span>
        </h2>
      </figcaption>
      <pre tabIndex={0} className="listing">
        {storyCode(settings).map((line) => (
          <Line
            key={line.text}
            text={line.text}
            mark={line.path && (markOf(run, line.path) ?? true)}
          />
        ))}
      </pre>
      <p className="help">{said[outcome]}</p>
    </figure>
  );
}

/** `true` marks a line of which nothing is known yet. */
function Line({ text, mark, number }: { text: string; mark?: MarkText | true; number?: number }) {
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
/** The part in which every element's address is made. */
const START = LINES.findIndex((line) => line.includes('@compute'));
const END = LINES.findIndex((line, at) => at > START && line.includes('best = row_best'));

function Kernel({ run }: { run?: LabRun }) {
  const [whole, setWhole] = useState(false);
  const mark = markOf(run, 'strided');
  const first = whole ? 0 : START;
  const lines = LINES.slice(first, whole ? undefined : END + 1);
  const lastMarked = lines.findLastIndex(isAddressing);
  return (
    <figure>
      <figcaption>
        <h2>
          Ours <span className="unit">WGSL: kernels/compare.wgsl, the evaluation’s kernel</span>
        </h2>
        <button
          type="button"
          className="tool"
          aria-pressed={whole}
          onClick={() => setWhole(!whole)}
        >
          whole file
        </button>
      </figcaption>
      <pre tabIndex={0} className={whole ? 'listing whole' : 'listing'}>
        {lines.map((line, index) => (
          <Line
            // biome-ignore lint/suspicious/noArrayIndexKey: a line is its number
            key={first + index}
            number={first + index + 1}
            text={line}
            mark={isAddressing(line) ? (index === lastMarked && mark ? mark : true) : undefined}
          />
        ))}
      </pre>
      <p className="help">
        The marked lines make every address from offset and strides. A slice only changes those
        numbers, so nothing is copied and nothing can raise.
      </p>
    </figure>
  );
}
