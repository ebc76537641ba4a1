// The lessons on distillation: predict, then see. The address holds the lesson and the slider. A
// link that cannot be opened changes nothing.

import { useEffect, useMemo, useRef, useState } from 'react';
import type { LessonFile } from '../../distributions';
import { useMedia } from '../shared/browser';
import { FoldedLessonList, LessonList, Predicted, Question } from '../shared/LessonParts';
import { Notice } from '../shared/Notice';
import { labHash, useRoom, writeRoom } from '../shared/rooms';
import { LiveExperts } from './LiveExperts';
import { makeLessons } from './lessons';
import { Panels } from './Panels';
import recorded from './recorded.json';
import type { Lesson, Scene } from './scene';
import { formatState, type LessonState, parseState } from './state';
import './distillation.css';

const FILE = recorded as LessonFile;
const LESSONS = makeLessons(FILE);
/** Wide enough for three columns, as in the other rooms. */
const WIDE = '(min-width: 1080px)';

export function Lessons() {
  const wide = useMedia(WIDE);
  const { state, problem } = useAddress();
  const { lesson, value } = state;
  const [prediction, setPrediction] = useState<{ id: string; choice?: number }>();
  const scene = useMemo(() => lesson.scene(value), [lesson, value]);
  const answered = prediction?.id === lesson.id;
  const show = (shown: number) => writeRoom('lessons', formatState({ lesson, value: shown }));
  const predict = (choice?: number) => {
    setPrediction({ id: lesson.id, choice });
    show(lesson.control.start);
  };

  const lessons = LESSONS.map((one) => ({
    title: one.title,
    href: labHash('lessons', one.id),
    current: one === lesson,
  }));
  const seen = value !== undefined;
  const verdict = seen ? (
    <Verdict
      key={lesson.id}
      lesson={lesson}
      choice={answered ? prediction.choice : undefined}
      focus={answered}
    />
  ) : (
    <Question key={lesson.id} quiz={lesson} onPredict={predict} />
  );
  const pictures = (
    <>
      {seen && <Slider lesson={lesson} value={value} onChange={show} />}
      {lesson.live ? <LiveExperts balance={value} /> : <Panels panels={scene.panels} />}
    </>
  );
  const learnt = seen && <Learnt lesson={lesson} facts={scene.facts} />;
  return (
    <div className={wide ? 'room wide distillation' : 'room distillation'}>
      {problem && (
        <Notice kind="problem" title="This link cannot be opened.">
          {problem} The lesson has not changed.
        </Notice>
      )}
      <main>
        {wide ? (
          <>
            <div className="column left">
              <LessonList lessons={lessons} />
              <Source />
            </div>
            <div className="column middle">{pictures}</div>
            <div className="column right">
              <section className="verdict" aria-label="Verdict">
                {verdict}
                {learnt}
              </section>
            </div>
          </>
        ) : (
          <>
            <FoldedLessonList lessons={lessons} otherwise="" />
            <section className="verdict" aria-label="Verdict">
              {verdict}
            </section>
            <div>{pictures}</div>
            {learnt && (
              <section className="verdict" aria-label="What it shows">
                {learnt}
              </section>
            )}
            <Source />
          </>
        )}
      </main>
    </div>
  );
}

/** The state in the address. If it is invalid: the last valid one, and what is wrong. */
function useAddress(): { state: LessonState; problem?: string } {
  const text = useRoom((state) => state.lessons);
  const parsed = parseState(text, LESSONS);
  const [last, setLast] = useState<LessonState>({ lesson: LESSONS[0] });
  const valid = 'lesson' in parsed;
  useEffect(() => {
    const now = parseState(text, LESSONS);
    if ('lesson' in now) setLast(now);
  }, [text]);
  return valid ? { state: parsed } : { state: last, problem: parsed.problem };
}

/** The slider steps through the control's values. */
function Slider({
  lesson: { control },
  value,
  onChange,
}: {
  lesson: Lesson;
  value: number;
  onChange: (value: number) => void;
}) {
  const { name, symbol, values } = control;
  const text = `${symbol} = ${value.toLocaleString('en')}`;
  const at = values.indexOf(value);
  return (
    <label className="lesson-slider">
      <span>{name}</span>
      <input
        type="range"
        min={0}
        max={values.length - 1}
        step={1}
        value={at}
        aria-valuetext={text}
        style={{ '--filled': `${(100 * at) / (values.length - 1)}%` } as React.CSSProperties}
        onChange={(event) => onChange(values[Number(event.target.value)])}
      />
      <output>{text}</output>
    </label>
  );
}

/** The question again, and the true option. */
function Verdict({
  lesson,
  choice,
  focus,
}: {
  lesson: Lesson;
  choice: number | undefined;
  /** Moves the focus to the verdict, because it replaces the question that had the focus. */
  focus: boolean;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (focus) heading.current?.focus();
  }, [focus]);
  return (
    <>
      <h2 ref={heading} tabIndex={-1}>
        {lesson.title}
      </h2>
      <p className="setting">{lesson.setting}</p>
      <p className="question">{lesson.question}</p>
      {choice === undefined && (
        <p data-testid="answer">
          <span className="unit">Answer:</span> {lesson.options[lesson.right]}.
        </p>
      )}
      <Predicted quiz={lesson} choice={choice} />
    </>
  );
}

/** The scene's figures, what they teach, and where to go on. */
function Learnt({ lesson, facts }: { lesson: Lesson; facts: Scene['facts'] }) {
  const next = LESSONS[LESSONS.indexOf(lesson) + 1];
  return (
    <>
      <dl className="facts" data-testid="facts">
        {facts.map(([name, text]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <p className="answer">{lesson.answer}</p>
      <ul className="next-steps">
        <li>
          <a href={labHash('lessons', lesson.id)}>Ask again</a>
        </li>
        {next && (
          <li>
            <a href={labHash('lessons', next.id)}>Next: {next.title}</a>
          </li>
        )}
      </ul>
    </>
  );
}

/** Where the distributions come from. */
function Source() {
  const { teacher, heldOutTokens, adapter, date } = FILE;
  return (
    <p className="lesson-source">
      Recorded from {teacher} and students distilled from it, on{' '}
      {heldOutTokens.toLocaleString('en')} held-out tokens ({adapter}, {date}). All other figures
      are computed here, and the router of the last lesson is trained here.
    </p>
  );
}
