// The right column after the question: the verdict on the chain's last operation, why it was
// refused, and what the lesson teaches.

import { useEffect, useRef } from 'react';
import { contiguousStrides } from '../../tensor/strides';
import { Predicted } from '../shared/LessonParts';
import { labHash } from '../shared/rooms';
import type { Stage } from './chain';
import { bracketed, DTYPE, outcomeOf } from './chain';
import { explain } from './explain';
import { LESSONS, type Lesson } from './lessons';

interface AnswerProps {
  stage: Stage;
  lesson: Lesson | undefined;
  /** The option that the user predicted; undefined if none. */
  choice: number | undefined;
  /** Moves the focus to the verdict, because it replaces the question that had the focus. */
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
      {lesson && <Predicted quiz={lesson} choice={choice} />}
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
          Counted in {DTYPE.name}: {DTYPE.bytes} bytes per element.
        </p>
      )}
      {lesson && <NextSteps lesson={lesson} />}
    </>
  );
}

function verdictOf({ failure, operation, copied, layout }: Stage): string {
  if (failure) return `PyTorch refuses ${operation?.name}`;
  if (copied) return `Copies ${layout.numel} elements, ${layout.numel * DTYPE.bytes} bytes`;
  return operation ? 'Free: the same memory' : 'A new tensor, in row-major order';
}

function Facts({ stage: { failure, layout } }: { stage: Stage }) {
  if (failure) {
    return (
      <p className="called-on">
        Called on sizes {bracketed(layout.shape)}, strides {bracketed(layout.strides)}, offset{' '}
        {layout.offset}.
      </p>
    );
  }
  const facts: [string, string][] = [
    ['shape', bracketed(layout.shape)],
    ['strides', bracketed(layout.strides)],
    ['offset', String(layout.offset)],
    [
      'contiguous',
      layout.isContiguous ? 'yes' : `no; needs ${bracketed(contiguousStrides(layout.shape))}`,
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

function NextSteps({ lesson }: { lesson: Lesson }) {
  const next = LESSONS[LESSONS.indexOf(lesson) + 1];
  return (
    <>
      <p className="answer">{lesson.answer}</p>
      <ul className="next-steps">
        {lesson.beside && (
          <li>
            <a href={labHash('strideLab', lesson.beside.chain)}>{lesson.beside.label}</a>
          </li>
        )}
        {next && (
          <li>
            <a href={labHash('strideLab', next.chain)}>Next: {next.title}</a>
          </li>
        )}
      </ul>
    </>
  );
}
