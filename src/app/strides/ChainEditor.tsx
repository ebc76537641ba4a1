// The chain as PyTorch lines, each with its result, and the controls that build it. The controls
// offer only what the lab can show.

import { useEffect, useId, useRef, useState } from 'react';
import { product } from '../../tensor/strides';
import type { Argument, Chain, OperationName, Stage } from './chain';
import { bracketed, LIMITS, lineOf, OPERATIONS, outcomeOf } from './chain';
import { formatChain, parseChain } from './chain-text';
import { fill, isOffered, operationFrom, valuesOf } from './choices';

interface EditorProps {
  chain: Chain;
  stages: Stage[];
  /** True while a lesson asks about the last operation. */
  hidden: boolean;
  onChange(chain: Chain): void;
}

/** An operation that is being edited: a new last one, or a change of the last one. */
interface Draft {
  /** The text of the chain being edited. A draft is dropped when the chain changes. */
  chainText: string;
  name: OperationName;
  values: readonly Argument[];
  replaces: boolean;
}

export function ChainEditor({ chain, stages, hidden, onChange }: EditorProps) {
  const [lastDraft, setDraft] = useState<Draft>();
  const list = useRef<HTMLOListElement>(null);
  const changed = useRef(false);
  const { shape, operations } = chain;
  const text = formatChain(chain);
  const draft = lastDraft?.chainText === text ? lastDraft : undefined;
  const last = stages[stages.length - 1];
  const edit = (next: Chain['operations']) => {
    changed.current = true;
    setDraft(undefined);
    onChange({ shape, operations: next });
  };
  const cut = (count: number) => edit(operations.slice(0, count));
  // The focused button disappears with the change, so the focus moves to the last line.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs after each change of the chain
  useEffect(() => {
    if (changed.current) (list.current?.lastElementChild as HTMLElement | null)?.focus();
    changed.current = false;
  }, [text]);
  const full = operations.length >= LIMITS.operations;
  // The tensor that the draft's operation is applied to.
  const before = draft?.replaces ? stages[stages.length - 2] : last;

  const startDraft = (name: OperationName) =>
    setDraft({ chainText: text, name, values: [], replaces: false });
  const changeLast = () => {
    const operation = operations[operations.length - 1];
    setDraft({
      chainText: text,
      name: operation.name,
      values: valuesOf(operation, stages[stages.length - 2].layout),
      replaces: true,
    });
  };

  return (
    <section className="chain" aria-label="Chain">
      <h2>Chain</h2>
      <StartShape
        shape={shape}
        onChange={(next) => onChange(longestValid({ shape: next, operations }))}
      />
      <ol className="stages" ref={list}>
        {stages.map((stage, i) => {
          const isLast = i === stages.length - 1;
          return (
            <li
              // biome-ignore lint/suspicious/noArrayIndexKey: lines can repeat
              key={i}
              tabIndex={-1}
              className={hidden && isLast ? 'stage unanswered' : `stage ${outcomeOf(stage)}`}
            >
              <code>{stage.line}</code>
              <StageNote stage={stage} hidden={hidden && isLast} />
              {i > 0 && (
                <span className="stage-tools">
                  {isLast ? (
                    <>
                      {stage.operation!.name !== 'contiguous' && (
                        <button type="button" className="quiet" onClick={changeLast}>
                          Change
                        </button>
                      )}
                      <button type="button" className="quiet" onClick={() => cut(i - 1)}>
                        Remove
                      </button>
                    </>
                  ) : (
                    <button
                      type="button"
                      className="quiet"
                      onClick={() => cut(i)}
                      aria-label={`Back to line ${i + 1}, ${stage.line}`}
                    >
                      Back to here
                    </button>
                  )}
                </span>
              )}
            </li>
          );
        })}
      </ol>
      {draft ? (
        <DraftForm
          draft={draft}
          before={before}
          onDraft={setDraft}
          onDone={(operation) =>
            edit([...(draft.replaces ? operations.slice(0, -1) : operations), operation])
          }
          onCancel={() => setDraft(undefined)}
        />
      ) : (
        !hidden && <Chips stage={last} full={full} onPick={startDraft} />
      )}
    </section>
  );
}

/** After a change of the start shape: drops the operations from the first invalid one on. */
function longestValid({ shape, operations }: Chain): Chain {
  const chains = operations.map((_, i) => ({ shape, operations: operations.slice(0, i + 1) }));
  return (
    chains.findLast((chain) => 'chain' in parseChain(formatChain(chain))) ?? {
      shape,
      operations: [],
    }
  );
}

function StageNote({
  stage: { failure, copied, layout },
  hidden,
}: {
  stage: Stage;
  hidden: boolean;
}) {
  if (hidden) return <span className="stage-note">What happens here?</span>;
  if (failure) return <span className="stage-note">refused</span>;
  return (
    <span className="stage-note">
      {bracketed(layout.shape)}, strides {bracketed(layout.strides)}, offset {layout.offset},{' '}
      {layout.isContiguous ? 'contiguous' : 'not contiguous'}
      {copied && ', copied'}
    </span>
  );
}

function StartShape({
  shape,
  onChange,
}: {
  shape: readonly number[];
  onChange: (shape: readonly number[]) => void;
}) {
  const dimensions = Array.from({ length: LIMITS.startDimensions }, (_, i) => i + 1);
  const withRank = (count: number) =>
    count <= shape.length ? shape.slice(0, count) : padded(shape, count);
  const sizesOf = (d: number) => {
    const others = product(shape) / shape[d];
    const all = Array.from({ length: LIMITS.startSize }, (_, i) => i + 1);
    return all.filter((size) => size * others <= LIMITS.elements);
  };
  return (
    <div className="fields start">
      <Select
        label="dimensions"
        value={shape.length}
        choices={dimensions.map((value) => ({ value, text: String(value) }))}
        onChange={(count) => onChange(withRank(count as number))}
      />
      {shape.map((size, d) => (
        <Select
          // biome-ignore lint/suspicious/noArrayIndexKey: a dimension is identified by its position
          key={d}
          label={`dim ${d}`}
          value={size}
          choices={sizesOf(d).map((value) => ({ value, text: String(value) }))}
          onChange={(next) => onChange(shape.with(d, next as number))}
        />
      ))}
    </div>
  );
}

const padded = (shape: readonly number[], count: number) => [
  ...shape,
  ...Array(count - shape.length).fill(1),
];

function Chips({
  stage,
  full,
  onPick,
}: {
  stage: Stage;
  full: boolean;
  onPick: (name: OperationName) => void;
}) {
  if (stage.failure)
    return <p className="stage-note">The last line fails. Change or remove it to continue.</p>;
  if (full)
    return (
      <p className="stage-note">
        The lab takes up to {LIMITS.operations} operations. Remove one to add another.
      </p>
    );
  return (
    <fieldset className="chips">
      <legend>Add an operation</legend>
      {OPERATIONS.filter((name) => isOffered(name, stage.layout)).map((name) => (
        <button key={name} type="button" onClick={() => onPick(name)}>
          {name}
        </button>
      ))}
    </fieldset>
  );
}

interface DraftProps {
  draft: Draft;
  before: Stage;
  onDraft(draft: Draft): void;
  onDone(operation: ReturnType<typeof operationFrom>): void;
  onCancel(): void;
}

function DraftForm({ draft, before, onDraft, onDone, onCancel }: DraftProps) {
  const { name } = draft;
  const fields = fill(name, before.layout, draft.values);
  const operation = operationFrom(name, fields);
  const set = (at: number, value: Argument) =>
    onDraft({ ...draft, values: fields.map((field, i) => (i === at ? value : field.value)) });
  return (
    <form
      className="draft"
      aria-label={`${draft.replaces ? 'Change' : 'Add'} ${name}`}
      onSubmit={(event) => {
        event.preventDefault();
        onDone(operation);
      }}
    >
      <div className="fields">
        {fields.map(({ label, value, choices }, i) => (
          <Select
            key={label}
            label={label}
            value={value}
            choices={choices}
            onChange={(next) => set(i, next)}
          />
        ))}
      </div>
      <code>{lineOf(operation, before.layout)}</code>
      <div className="draft-buttons">
        {/* biome-ignore lint/a11y/noAutofocus: the chip that had the focus has just disappeared */}
        <button type="submit" className="secondary" autoFocus>
          {draft.replaces ? 'Change' : 'Add'} {name}
        </button>
        <button type="button" className="quiet" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}

interface SelectProps {
  label: string;
  value: Argument;
  choices: readonly { value: Argument; text: string }[];
  onChange(value: Argument): void;
}

function Select({ label, value, choices, onChange }: SelectProps) {
  const id = useId();
  return (
    <span className="select">
      <label htmlFor={id}>{label}</label>
      <select
        id={id}
        value={choices.findIndex((choice) => choice.value === value)}
        onChange={(event) => onChange(choices[Number(event.target.value)].value)}
      >
        {choices.map((choice, i) => (
          <option key={choice.text} value={i}>
            {choice.text}
          </option>
        ))}
      </select>
    </span>
  );
}
