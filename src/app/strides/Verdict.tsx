// What the last operation of a chain comes to. A lesson asks for a prediction first; then the
// verdict, large, why a view is refused, and the lesson's one sentence.

import { useEffect, useRef } from 'react';
import { contiguousStrides } from '../../tensor/strides';
import type { Stage } from './chain';
import { DTYPE, outcomeOf } from './chain';
import { explain } from './explain';
import { LESSONS, type Lesson } from './lessons';

export function Question({
  lesson,
  onPredict,
}: {
  lesson: Lesson;
  onPredict: (choice?: number) => void;
}) {
  return (
    <>
      <h2>{lesson.title}</h2>
      <p>{lesson.setting}</p>
      <p className="question" id="strides-question">
        {lesson.question}
      </p>
      <fieldset className="options" aria-labelledby="strides-question">
        {lesson.options.map((option, i) => (
          <button key={option} type="button" className="secondary" onClick={() => onPredict(i)}>
            {option}
          </button>
        ))}
        <button type="button" className="quiet" onClick={() => onPredict()}>
          Show me
        </button>
      </fieldset>
    </>
  );
}

interface AnswerProps {
  stage: Stage;
  lesson: Lesson | undefined;
  /** The option that was predicted, if one was. */
  choice: number | undefined;
  /** True if the question stood here before: the focus, which was on it, comes along. */
  focus: boolean;
}

export function Answer({ stage, lesson, choice, focus }: AnswerProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (focus) heading.current?.focus();
  }, [focus]);
  const outcome = outcomeOf(stage);
  const explanation = explain(stage);
  return (
    <>
      {lesson && (
        <>
          <h2>{lesson.title}</h2>
          <p className="setting">{lesson.setting}</p>
        </>
      )}
      {lesson && choice !== undefined && (
        <p className="predicted" data-testid="predicted">
          <span className="unit">You said</span> {lesson.options[choice]}.{' '}
          {choice === lesson.right ? 'So it is.' : `It is: ${lesson.options[lesson.right]}.`}
        </p>
      )}
      <h2 className={`verdict-line ${outcome}`} ref={heading} tabIndex={-1} data-testid="verdict">
        {verdictOf(stage)}
      </h2>
      {stage.failure && (
        <p className="refusal" data-testid="refusal">
          {stage.failure.reason}
        </p>
      )}
      <Facts stage={stage} />
      {explanation?.sentences.map((sentence) => (
        <p key={sentence} className="why">
          {sentence}
        </p>
      ))}
      {stage.copied && (
        <p className="why">
          Counted in {DTYPE.name}, {DTYPE.bytes} bytes an element.
        </p>
      )}
      {lesson && <Sequel lesson={lesson} />}
    </>
  );
}

function verdictOf({ failure, operation, copied, layout }: Stage): string {
  if (failure) return `PyTorch refuses ${operation?.name}`;
  if (copied) return `Copies ${layout.numel} elements, ${layout.numel * DTYPE.bytes} bytes`;
  return operation ? 'Free: the same memory' : 'A new tensor, in row order';
}

function Facts({ stage: { failure, layout } }: { stage: Stage }) {
  if (failure) {
    return (
      <p className="met">
        It was called on sizes [{layout.shape.join(', ')}], strides [{layout.strides.join(', ')}],
        offset {layout.offset}.
      </p>
    );
  }
  const facts: [string, string][] = [
    ['shape', `[${layout.shape.join(', ')}]`],
    ['strides', `[${layout.strides.join(', ')}]`],
    ['offset', String(layout.offset)],
    [
      'contiguous',
      layout.isContiguous
        ? 'yes'
        : `no; row order has [${contiguousStrides(layout.shape).join(', ')}]`,
    ],
  ];
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd data-testid={`fact-${name}`}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Sequel({ lesson }: { lesson: Lesson }) {
  const next = LESSONS[LESSONS.indexOf(lesson) + 1];
  return (
    <>
      <p className="answer">{lesson.answer}</p>
      <ul className="sequel">
        {lesson.beside && (
          <li>
            <a href={`#lab=${lesson.beside.chain}`}>{lesson.beside.label}</a>
          </li>
        )}
        {next && (
          <li>
            <a href={`#lab=${next.chain}`}>Next: {next.title}</a>
          </li>
        )}
      </ul>
    </>
  );
}
