// The Stride Lab: lessons and a chain of operations to build, pictures of storage and view, the
// verdict. The chain is the address; a link that cannot be opened leaves the lab as it was.

import { useEffect, useState } from 'react';
import { useMedia } from '../shared/browser';
import { useRoom, writeRoom } from '../shared/rooms';
import { ChainEditor } from './ChainEditor';
import type { Chain } from './chain';
import { formatChain, type Opened, parseChain } from './chain-text';
import type { Lesson } from './lessons';
import { LESSONS } from './lessons';
import { Pictures } from './Pictures';
import { Answer, Question } from './Verdict';
import './strides.css';

/** From here on three columns have room; as in the Distil room. */
const WIDE = '(min-width: 1080px)';

/**
 * The prediction that was made for a chain's text; no choice if the answer was asked for without
 * one.
 */
interface Prediction {
  text: string;
  choice?: number;
}

export function StrideLab() {
  const wide = useMedia(WIDE);
  const { opened, problem } = useOpened();
  const text = formatChain(opened.chain);
  // What was built here, and not opened by a link, is explored: nothing is asked about it.
  const [built, setBuilt] = useState<string>();
  useEffect(() => {
    const opened = () => setBuilt(undefined);
    addEventListener('hashchange', opened);
    return () => removeEventListener('hashchange', opened);
  }, []);
  const [prediction, setPrediction] = useState<Prediction>();
  const lesson = text === built ? undefined : LESSONS.find(({ chain }) => chain === text);
  const answered = prediction?.text === text;
  const hidden = lesson !== undefined && !answered;
  const { stages } = opened;
  const shown = hidden ? stages.slice(0, -1) : stages;

  const change = (chain: Chain) => {
    const next = formatChain(chain);
    setBuilt(next);
    writeRoom('lab', next);
  };
  const predict = (choice?: number) => setPrediction({ text, choice });

  const lessons = <Lessons current={lesson} />;
  const editor = (
    <ChainEditor chain={opened.chain} stages={stages} hidden={hidden} onChange={change} />
  );
  const verdict = (
    <section className="verdict" aria-label="Verdict">
      {!wide && <pre>{stages.map(({ line }) => line).join('\n')}</pre>}
      {hidden ? (
        <Question key={text} lesson={lesson} onPredict={predict} />
      ) : (
        <Answer
          key={text}
          stage={stages[stages.length - 1]}
          lesson={lesson}
          choice={answered ? prediction.choice : undefined}
          focus={answered}
        />
      )}
    </section>
  );
  const pictures = (
    <Pictures
      key={`${text} ${hidden}`}
      stage={shown[shown.length - 1]}
      wide={wide}
      hidden={hidden}
    />
  );

  return (
    <div className={wide ? 'room wide strides' : 'room strides'}>
      {problem && (
        <div className="notice problem" role="alert">
          <div>
            <strong>This link does not open.</strong> {problem} The lab stays as it was.
          </div>
        </div>
      )}
      <main>
        {wide ? (
          <>
            <div className="column left">
              {lessons}
              {editor}
            </div>
            <div className="column middle">{pictures}</div>
            <div className="column right">{verdict}</div>
          </>
        ) : (
          <>
            <details className="lessons-fold">
              <summary>
                Lessons{' '}
                <span className="unit">{lesson ? lesson.title : 'a chain of your own'}</span>
              </summary>
              {lessons}
            </details>
            {verdict}
            {pictures}
            {editor}
          </>
        )}
      </main>
    </div>
  );
}

/**
 * The chain that the address names; where it names none that can be opened, the last one that
 * could, and why.
 */
function useOpened(): { opened: Opened; problem?: string } {
  const lab = useRoom((state) => state.lab);
  const [last, setLast] = useState(LESSONS[0].chain);
  const found = parseChain(lab === '' ? LESSONS[0].chain : lab);
  const opens = 'chain' in found;
  useEffect(() => {
    if (opens) setLast(lab === '' ? LESSONS[0].chain : lab);
  }, [opens, lab]);
  if (opens) return { opened: found };
  const before = parseChain(last);
  if ('problem' in before) throw new Error(`Stride Lab: ${last} opened before. ${before.problem}`);
  return { opened: before, problem: found.problem };
}

function Lessons({ current }: { current: Lesson | undefined }) {
  return (
    <nav className="lessons" aria-label="Lessons">
      <h2>Lessons</h2>
      <ol>
        {LESSONS.map((lesson) => (
          <li key={lesson.chain}>
            <a href={`#lab=${lesson.chain}`} aria-current={lesson === current ? 'true' : undefined}>
              {lesson.title}
            </a>
          </li>
        ))}
      </ol>
    </nav>
  );
}
