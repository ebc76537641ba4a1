// The box's content: the prompt and how tokens are chosen, both answers, and what both models
// expected in the place of one token.

import './say.css';
import { useId, useState } from 'react';
import { SAY_FIELDS, type SayField } from '../../say-settings';
import type { SaidToken } from '../../worker/protocol';
import type { ShownRun } from '../run/shown-run';
import { useRun } from '../run/store';
import { stopSaying } from '../shared/client';
import { plural } from '../shared/format';
import { Icon } from '../shared/Icon';
import { Answer } from './Answer';
import { Expected } from './Expected';
import { readSettings, setSayText, useAnswers, useSayForm } from './store';
import { answersAlone } from './texts';

const AUTHORS = ['student', 'teacher'] as const;

export default function SayPanel() {
  const run = useRun((state) => state.run);
  const { input, request } = useAnswers();
  const [chosen, setChosen] = useState<SaidToken>();
  if (!run) return null;
  const current = input?.runId === run.id ? request : undefined;
  const tokens = current?.progress ?? [];
  const shown = chosen && tokens.includes(chosen) ? chosen : tokens.at(-1);
  const alone = answersAlone(run.report);
  return (
    <div className="say">
      <Form run={run} answering={current?.status === 'running'} />
      <p className="help" role="status">
        {current?.status === 'running' && `Answering: ${plural(tokens.length, 'token')} so far.`}
        {current?.status === 'done' &&
          `${current.value.stopped ? 'Stopped. ' : ''}The student spoke after step ` +
            `${current.value.step.toLocaleString('en')}.`}
      </p>
      {current?.status === 'failed' && (
        <p className="field-problem" role="alert">
          Could not answer. {current.failure.message} {current.failure.hint}
        </p>
      )}
      {tokens.length > 0 &&
        AUTHORS.filter((author) => author === 'student' || !alone).map((author) => (
          <Answer
            key={author}
            author={author}
            prompt={input?.prompt ?? ''}
            tokens={tokens.filter((token) => token.author === author)}
            shown={shown}
            onChoose={setChosen}
          />
        ))}
      {shown && (
        <Expected
          token={shown}
          before={textBefore(shown, tokens, input?.prompt ?? '')}
          label={alone ? 'What the student expected' : 'What both expected'}
          mark="said"
        />
      )}
    </div>
  );
}

/** What stood before a token, for the heading of its table. */
function textBefore(token: SaidToken, tokens: readonly SaidToken[], prompt: string): string {
  const answer = tokens.filter(({ author }) => author === token.author);
  const said = answer.slice(0, answer.indexOf(token)).map(({ text }) => text);
  return prompt + said.join('');
}

/** Why nobody can be asked now; undefined if both can. */
function silence(phase: ReturnType<typeof useRun.getState>['phase']): string | undefined {
  if (phase === 'loading') return 'The run is loading.';
  if (phase === 'failed') return 'The run stopped. Start another to ask its student.';
  if (phase === 'lost') return 'The GPU was lost. Continue the run to ask its student.';
  return undefined;
}

function Form({ run, answering }: { run: ShownRun; answering: boolean }) {
  const phase = useRun((state) => state.phase);
  const form = useSayForm();
  const start = useAnswers((state) => state.start);
  const id = useId();
  const prompt = form.prompt ?? run.config.prompt;
  const { settings, problems } = readSettings(form.texts);
  const silent = silence(phase);
  const refused = silent !== undefined || Object.keys(problems).length > 0;
  const ask = (event: React.FormEvent) => {
    event.preventDefault();
    if (!refused && !answering) start({ runId: run.id, prompt, settings });
  };
  return (
    <form onSubmit={ask}>
      <label htmlFor={id}>Begin a text</label>
      <input
        id={id}
        type="text"
        value={prompt}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => useSayForm.setState({ prompt: event.target.value })}
      />
      <div className="say-fields">
        {(Object.keys(SAY_FIELDS) as SayField[]).map((name) => (
          <SayControl key={name} name={name} text={form.texts[name]} problem={problems[name]} />
        ))}
        {answering ? (
          <button type="button" className="secondary" onClick={stopSaying}>
            <Icon name="stop" /> Stop
          </button>
        ) : (
          <button type="submit" className="secondary" disabled={refused}>
            {answersAlone(run.report) ? 'Ask' : 'Ask both'}
          </button>
        )}
      </div>
      <p className="help">{silent ?? about(run, phase === 'running')}</p>
    </form>
  );
}

/** What to know of these two models. */
function about({ report, config }: ShownRun, training: boolean): string {
  return [
    training && 'Training waits meanwhile.',
    `${answersAlone(report) ? 'The student sees' : 'Both see'} at most the last ` +
      `${config.max_length} tokens.`,
    report?.cache &&
      'This run reads a cached teacher, which cannot be asked: the student answers alone.',
    report?.otherVocabulary &&
      'The teacher has another vocabulary, so its answer has other tokens: the student answers ' +
        'alone.',
    !answersAlone(report) &&
      report?.teacherEngine?.name === 'onnxruntime' &&
      'onnxruntime runs the teacher, which reads the whole text again for each token.',
  ]
    .filter(Boolean)
    .join(' ');
}

function SayControl({
  name,
  text,
  problem,
}: {
  name: SayField;
  text: string;
  problem: string | undefined;
}) {
  const id = useId();
  const { label, help, type } = SAY_FIELDS[name];
  return (
    <div className="say-field">
      <label htmlFor={id} title={help}>
        {label}
      </label>
      <input
        id={id}
        type="text"
        inputMode={type === 'integer' ? 'numeric' : 'decimal'}
        value={text}
        title={help}
        autoComplete="off"
        aria-invalid={problem !== undefined}
        aria-describedby={`${id}-help`}
        onChange={(event) => setSayText(name, event.target.value)}
      />
      <span className="visually-hidden" id={`${id}-help`}>
        {help}
      </span>
      {problem && (
        <p className="field-problem" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}
