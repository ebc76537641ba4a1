// The Stride Lab: lessons, a chain of operations that the user can edit, pictures of storage and
// view, and the verdict. The address holds the chain. A link that cannot be opened changes nothing.

import { useEffect, useState } from 'react';
import { useMedia } from '../shared/browser';
import { FoldedLessonList, LessonList, Question } from '../shared/LessonParts';
import { Notice } from '../shared/Notice';
import { labHash, useRoom, writeRoom } from '../shared/rooms';
import { ChainEditor } from './ChainEditor';
import type { Chain } from './chain';
import type { ParsedChain } from './chain-text';
import { formatChain, parseChain } from './chain-text';
import { LESSONS } from './lessons';
import { Pictures } from './Pictures';
import { Answer } from './Verdict';
import './strides.css';

/** Wide enough for three columns, as in the Distil room. */
const WIDE = '(min-width: 1080px)';

interface Prediction {
  /** The chain that the user predicted. */
  chainText: string;
  /** Index of the option; undefined after "Show me". */
  choice?: number;
}

export function StrideLab() {
  const wide = useMedia(WIDE);
  const { parsed, problem } = useAddressChain();
  const text = formatChain(parsed.chain);
  // A chain built in the editor asks no question, even if a lesson has the same one.
  const [editedText, setEditedText] = useState<string>();
  useEffect(() => {
    const openLink = () => setEditedText(undefined);
    addEventListener('hashchange', openLink);
    return () => removeEventListener('hashchange', openLink);
  }, []);
  const [prediction, setPrediction] = useState<Prediction>();
  const lesson = text === editedText ? undefined : LESSONS.find(({ chain }) => chain === text);
  const answered = prediction?.chainText === text;
  const hidden = lesson !== undefined && !answered;
  const { stages } = parsed;
  // Until the user answers, the pictures show the tensor before the last operation.
  const pictured = stages[stages.length - (hidden ? 2 : 1)];

  const change = (chain: Chain) => {
    const next = formatChain(chain);
    setEditedText(next);
    writeRoom('strideLab', next);
  };
  const predict = (choice?: number) => setPrediction({ chainText: text, choice });

  const lessons = LESSONS.map((one) => ({
    title: one.title,
    href: labHash('strideLab', one.chain),
    current: one === lesson,
  }));
  const editor = (
    <ChainEditor chain={parsed.chain} stages={stages} hidden={hidden} onChange={change} />
  );
  const verdict = (
    <section className="verdict" aria-label="Verdict">
      {!wide && <pre>{stages.map(({ line }) => line).join('\n')}</pre>}
      {hidden ? (
        <Question key={text} quiz={lesson} onPredict={predict} />
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
    <Pictures key={`${text} ${hidden}`} stage={pictured} wide={wide} hidden={hidden} />
  );

  return (
    <div className={wide ? 'room wide strides' : 'room strides'}>
      {problem && (
        <Notice kind="problem" title="This link cannot be opened.">
          {problem} The lab has not changed.
        </Notice>
      )}
      <main>
        {wide ? (
          <>
            <div className="column left">
              <LessonList lessons={lessons} />
              {editor}
            </div>
            <div className="column middle">{pictures}</div>
            <div className="column right">{verdict}</div>
          </>
        ) : (
          <>
            <FoldedLessonList lessons={lessons} otherwise="your own chain" />
            {verdict}
            {pictures}
            {editor}
          </>
        )}
      </main>
    </div>
  );
}

/** The chain in the address. If it is invalid: the last valid one, and what is wrong. */
function useAddressChain(): { parsed: ParsedChain; problem?: string } {
  const text = useRoom((state) => state.strideLab) || LESSONS[0].chain;
  const [lastValid, setLastValid] = useState(LESSONS[0].chain);
  const parsed = parseChain(text);
  const valid = 'chain' in parsed;
  useEffect(() => {
    if (valid) setLastValid(text);
  }, [valid, text]);
  if (valid) return { parsed };
  const previous = parseChain(lastValid);
  if ('problem' in previous) {
    throw new Error(`Stride Lab: ${lastValid} was valid before. ${previous.problem}`);
  }
  return { parsed: previous, problem: parsed.problem };
}
