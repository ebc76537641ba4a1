// The passages of the held-out text that the student predicts least and most like its teacher,
// token by token, and what both models expect in the place of one.

import { useState } from 'react';
import type { Passages as Found, Passage } from '../../worker/protocol';
import { lineStyle } from '../charts/line-style';
import type { ShownRun } from '../run/shown-run';
import { useRun } from '../run/store';
import { Expected } from '../say/Expected';
import { TokenList } from '../say/TokenList';
import { visible } from '../say/texts';
import { type Place, useExpected, usePassages } from './store';

const KINDS = [
  ['worst', 'Furthest from the teacher'],
  ['best', 'Closest to the teacher'],
] as const;
/** So much of the text before a passage is shown, in characters. */
const SHOWN_BEFORE = 60;
/** The choice of colours that is no layer's place. */
const BY_KL = -1;

/** The place of the layer whose experts colour the tokens; BY_KL for none. */
type Colours = number;
const colourOf = (expert: number) => lineStyle(expert).colour;

export function Passages({ run }: { run: ShownRun }) {
  const phase = useRun((state) => state.phase);
  const { input, request, start } = usePassages();
  const [colours, setColours] = useState<Colours>(BY_KL);
  const current = input === run.id ? request : undefined;
  const ready = phase === 'running' || phase === 'paused' || phase === 'finished';
  const looking = ready && current?.status === 'running';
  return (
    <section className="passages" aria-label="Passages">
      <h2>Passages</h2>
      <p className="help">
        Where in the held-out text the student is furthest from its teacher, and where it is
        closest. The stronger a token’s colour, the further apart they are there; choose one to see
        what both expected. Strong colours show what was not learned.
      </p>
      <div className="drop-tools">
        <button
          type="button"
          className="quiet outlined"
          disabled={!ready || looking}
          onClick={() => start(run.id)}
        >
          {current?.status === 'done' ? 'Look again' : 'Find the passages'}
        </button>
      </div>
      <p className="help" role="status">
        {looking && 'Looking. It takes as long as an evaluation.'}
        {!ready && 'There is no student to ask now.'}
        {ready && current === undefined && phase === 'running' && 'Training waits meanwhile.'}
        {current?.status === 'done' && `The student as it was after step ${current.value.step}.`}
      </p>
      {current?.status === 'failed' && (
        <p className="field-problem" role="alert">
          Could not look. {current.failure.message} {current.failure.hint}
        </p>
      )}
      {current?.status === 'done' && (
        <>
          <Colouring found={current.value} colours={colours} onChoose={setColours} />
          {KINDS.map(([kind, title]) => (
            <section key={kind} aria-label={title}>
              <h3>{title}</h3>
              {current.value[kind].map((passage) => (
                <PassageText
                  key={`${passage.before}${passage.mean}`}
                  runId={run.id}
                  passage={passage}
                  title={title}
                  colours={colours}
                />
              ))}
            </section>
          ))}
        </>
      )}
    </section>
  );
}

/** What the tokens' colours stand for; a student without experts leaves no choice. */
function Colouring({
  found,
  colours,
  onChoose,
}: {
  found: Found;
  colours: Colours;
  onChoose: (colours: Colours) => void;
}) {
  const layers = found.worst[0]?.experts;
  if (!layers) return null;
  const experts = layers[colours]?.experts ?? 0;
  return (
    <div className="colouring">
      <label className="help">
        Colours show{' '}
        <select
          className="tool"
          value={colours}
          onChange={(event) => onChoose(Number(event.target.value))}
        >
          <option value={BY_KL}>how far apart they are</option>
          {layers.map(({ layer }, place) => (
            <option key={layer} value={place}>
              the expert of layer {layer}
            </option>
          ))}
        </select>
      </label>
      {experts > 0 && (
        <>
          <ul className="expert-legend" aria-label="Experts">
            {Array.from({ length: experts }, (_, expert) => expert).map((expert) => (
              <li key={expert}>
                <span style={{ '--ground': colourOf(expert) } as React.CSSProperties} />
                {expert}
              </li>
            ))}
          </ul>
          <p className="help">
            A token’s colour and number name the expert that the router finds likeliest when the
            model reads it.
          </p>
        </>
      )}
    </div>
  );
}

function PassageText({
  runId,
  passage,
  title,
  colours,
}: Pick<Place, 'runId' | 'passage'> & { title: string; colours: Colours }) {
  const { input, start } = useExpected();
  const chosen = input?.passage === passage ? input.index : -1;
  const { before, texts, kl, mean } = passage;
  const experts = passage.experts?.[colours]?.chosen;
  const shown = visible(before.slice(-SHOWN_BEFORE));
  return (
    <figure className="passage">
      <div className="answer-text">
        <span className="unit">
          {before.length > SHOWN_BEFORE && '…'}
          {shown}
        </span>
        <TokenList
          label={`${title}, KL ${mean.toFixed(2)} nats a token`}
          tokens={texts.map((text, index) => {
            const expert = experts?.[index];
            const goes = expert === undefined ? '' : `, expert ${expert}`;
            return {
              label: `${visible(text)}${goes}, KL ${kl[index].toFixed(2)} nats`,
              kl: kl[index],
              colour: expert === undefined ? undefined : colourOf(expert),
              content: (
                <>
                  {visible(text)}
                  {expert !== undefined && <sub>{expert}</sub>}
                </>
              ),
            };
          })}
          chosen={chosen}
          onChoose={(index) => chosen !== index && start({ runId, passage, index })}
        />{' '}
        <span className="unit">KL {mean.toFixed(2)}</span>
      </div>
      {chosen >= 0 && <Bars passage={passage} index={chosen} />}
    </figure>
  );
}

function Bars({ passage, index }: { passage: Passage; index: number }) {
  const { request } = useExpected();
  const { before, texts } = passage;
  if (request.status === 'failed') {
    return (
      <p className="field-problem" role="alert">
        Could not ask. {request.failure.message} {request.failure.hint}
      </p>
    );
  }
  if (request.status !== 'done') return <p className="help">Asking both models.</p>;
  return (
    <Expected
      token={request.value}
      before={before + texts.slice(0, index).join('')}
      label="Both in the passage"
      mark="in the text"
    />
  );
}
