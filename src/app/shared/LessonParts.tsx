// What rooms with lessons share: the list of lessons, a lesson's question, and what the user
// predicted. A lesson asks before it shows.

import './lessons.css';

/** A question with its options, one of which is true. */
export interface Quiz {
  title: string;
  /** What is given. */
  setting: string;
  question: string;
  options: readonly string[];
  /** Index of the true option. */
  right: number;
}

export interface ListedLesson {
  title: string;
  href: string;
  current: boolean;
}

export function LessonList({ lessons }: { lessons: readonly ListedLesson[] }) {
  return (
    <nav className="lessons" aria-label="Lessons">
      <h2>Lessons</h2>
      <ol>
        {lessons.map(({ title, href, current }) => (
          <li key={href}>
            <a href={href} aria-current={current ? 'true' : undefined}>
              {title}
            </a>
          </li>
        ))}
      </ol>
    </nav>
  );
}

/** The list where there is little room: folded, with the current lesson's title. */
export function FoldedLessonList({
  lessons,
  otherwise,
}: {
  lessons: readonly ListedLesson[];
  /** In place of a title, if none is current. */
  otherwise: string;
}) {
  return (
    <details className="lessons-fold">
      <summary>
        Lessons{' '}
        <span className="unit">{lessons.find(({ current }) => current)?.title ?? otherwise}</span>
      </summary>
      <LessonList lessons={lessons} />
    </details>
  );
}

export function Question({
  quiz,
  onPredict,
}: {
  quiz: Quiz;
  /** With the index of an option; without one after "Show me". */
  onPredict: (choice?: number) => void;
}) {
  return (
    <>
      <h2>{quiz.title}</h2>
      <p>{quiz.setting}</p>
      <p className="question" id="lesson-question">
        {quiz.question}
      </p>
      <fieldset className="options" aria-labelledby="lesson-question">
        {quiz.options.map((option, i) => (
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

/** Nothing without a prediction. */
export function Predicted({ quiz, choice }: { quiz: Quiz; choice: number | undefined }) {
  if (choice === undefined) return null;
  return (
    <p className="predicted" data-testid="predicted">
      <span className="unit">You chose</span> “{quiz.options[choice]}”.{' '}
      {choice === quiz.right ? 'Correct.' : `Answer: ${quiz.options[quiz.right]}.`}
    </p>
  );
}
