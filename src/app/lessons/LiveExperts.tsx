// A router in training: how the letters are shared among the experts, step by step, and to which
// one each letter goes. Moving the slider changes the weight of the balance loss while it trains; a
// button switches on a bias that balances without a loss.

import { useEffect, useMemo, useState } from 'react';
import { lineStyle } from '../charts/line-style';
import { percent } from './scene';
import { EXPERTS, shares, TEXT, TinyExperts } from './tiny-experts';

/** Steps after each change of the slider: enough for what it leads to, and then the page rests. */
const STEPS = 160;
/** Milliseconds of a frame that training may take, so that the page stays awake. */
const FRAME = 12;
/** Steps between two points of the picture. */
const EVERY = 4;
/** Letters of the text that are shown: those of its first sentences. */
const SHOWN = TEXT.indexOf(' whenever') - 1;
/** Steps for which a setting must stand to be written under the picture. */
const STOOD = 24;
const ALL = Array.from({ length: EXPERTS }, (_, expert) => expert);
const FIRST_SEED = 1;
/** How far a step moves the bias, where it is on. */
const BIAS_RATE = 0.01;

/** What the picture writes under a place where it was set. */
const settingOf = (balance: number, biased: boolean) =>
  biased ? `${balance}, bias` : `${balance}`;

interface Seen {
  step: number;
  /** Of each expert, from 0 to 1. */
  shares: number[];
  setting: string;
}

interface Training {
  history: readonly Seen[];
  chosen: Uint32Array;
  step: number;
  loss: number;
  running: boolean;
}

/** A model before its first step, and what is seen of it from then on. */
function begin(seed: number) {
  const model = new TinyExperts(seed);
  const history: Seen[] = [{ step: 0, shares: shares(model.chosen()), setting: '0' }];
  return { model, history };
}

/** Trains while the page is seen. @param balance undefined until the question is answered */
function useTraining(balance: number | undefined, biased: boolean, seed: number) {
  const { model, history } = useMemo(() => begin(seed), [seed]);
  const setting = balance === undefined ? undefined : settingOf(balance, biased);
  const [paused, setPaused] = useState(false);
  const [end, setEnd] = useState(0);
  const [shown, setShown] = useState<Training>();

  useEffect(() => {
    if (setting === undefined) return;
    setPaused(false);
    setEnd(model.step + STEPS);
  }, [model, setting]);
  const running = balance !== undefined && !paused && model.step < end;

  useEffect(() => {
    const show = (chosen: Uint32Array, running: boolean) =>
      setShown({ history: [...history], chosen, step: model.step, loss: model.loss, running });
    if (!running || balance === undefined || setting === undefined)
      return show(model.chosen(), false);
    let frame = requestAnimationFrame(function train() {
      const started = performance.now();
      let chosen: Uint32Array;
      do {
        for (let i = 0; i < EVERY; i++) model.train(balance, biased ? BIAS_RATE : 0);
        chosen = model.chosen();
        history.push({ step: model.step, shares: shares(chosen), setting });
      } while (model.step < end && performance.now() - started < FRAME);
      show(chosen, model.step < end);
      if (model.step < end) frame = requestAnimationFrame(train);
    });
    return () => cancelAnimationFrame(frame);
  }, [model, history, balance, biased, setting, end, running]);

  const toggle = () => {
    if (!paused && model.step >= end) setEnd(model.step + STEPS);
    else setPaused(!paused);
  };
  return { shown, toggle };
}

export function LiveExperts({ balance }: { balance: number | undefined }) {
  const [seed, setSeed] = useState(FIRST_SEED);
  const [biased, setBiased] = useState(false);
  const { shown, toggle } = useTraining(balance, biased, seed);
  if (!shown) return null;
  const { history, chosen, step, loss, running } = shown;
  const now = shares(chosen);
  return (
    <div className="live-experts">
      <section className="lesson-panel" aria-label="Shares of the letters">
        <h2>
          Shares of the letters <span className="unit">by expert, over the steps</span>
        </h2>
        <Bands history={history} />
        <p className="help" data-testid="live">
          Step {step}
          {Number.isFinite(loss) && `, loss ${loss.toFixed(2)} nats`}.{' '}
          {ALL.map((expert) => `Expert ${expert}: ${percent(now[expert])}`).join(' · ')}
        </p>
        {balance !== undefined && (
          <div className="drop-tools">
            <button type="button" className="quiet outlined" onClick={toggle}>
              {running ? 'Pause' : 'Train on'}
            </button>
            <button type="button" className="quiet outlined" onClick={() => setBiased(!biased)}>
              {biased ? 'Switch the bias off' : 'Switch a bias on'}
            </button>
            <button type="button" className="quiet outlined" onClick={() => setSeed(seed + 1)}>
              From other random weights
            </button>
          </div>
        )}
      </section>
      <Letters chosen={chosen} now={now} />
    </div>
  );
}

const WIDTH = 600;
const HEIGHT = 180;

/** One band for each expert, as high as its share; a line where a setting was changed. */
function Bands({ history }: { history: readonly Seen[] }) {
  const end = Math.max(STEPS, history[history.length - 1].step);
  const x = (step: number) => (WIDTH * step) / end;
  const below = (seen: Seen, expert: number) =>
    seen.shares.slice(0, expert).reduce((a, b) => a + b, 0);
  const edge = (expert: number) =>
    history.map((seen) => `${x(seen.step)},${HEIGHT * below(seen, expert)}`);
  const changes = history.filter((seen, i) => i > 0 && seen.setting !== history[i - 1].setting);
  const last = history[history.length - 1];
  const stood = changes.filter(
    ({ step }, i) => (changes[i + 1]?.step ?? end) - step >= STOOD && step <= end - STOOD,
  );
  return (
    <div className="live-bands">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={
          `Shares of the letters after ${last.step} steps: ` +
          ALL.map((expert) => `expert ${expert} ${percent(last.shares[expert])}`).join(', ')
        }
      >
        {ALL.map((expert) => (
          <polygon
            key={expert}
            points={[...edge(expert), ...edge(expert + 1).reverse()].join(' ')}
            fill={lineStyle(expert).colour}
            stroke="var(--paper)"
            strokeWidth={1}
            vectorEffect="non-scaling-stroke"
          />
        ))}
        {changes.map(({ step }) => (
          <line
            key={step}
            x1={x(step)}
            x2={x(step)}
            y1={0}
            y2={HEIGHT}
            stroke="var(--ink)"
            strokeDasharray="3 3"
            vectorEffect="non-scaling-stroke"
          />
        ))}
      </svg>
      <p className="live-axis" aria-hidden="true">
        <span>0</span>
        {stood.map(({ step, setting }) => (
          <span key={step} style={{ position: 'absolute', left: `${(100 * step) / end}%` }}>
            {setting}
          </span>
        ))}
        <span>step {end}</span>
      </p>
      <ul className="live-legend" aria-hidden="true">
        {ALL.map((expert) => (
          <li key={expert} className={`letters-${expert}`}>
            expert {expert}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** The text, each letter in the colour and with the underline of its expert. */
function Letters({ chosen, now }: { chosen: Uint32Array; now: readonly number[] }) {
  const runs: { text: string; expert: number; at: number }[] = [];
  for (let i = 0; i < SHOWN; i++) {
    // The first letter of the text has none before it, and is not looked at.
    const letter = TEXT[i + 1];
    const last = runs[runs.length - 1];
    if (last?.expert === chosen[i]) last.text += letter;
    else runs.push({ text: letter, expert: chosen[i], at: i });
  }
  const said = ALL.map((expert) => `${percent(now[expert])} to expert ${expert}`).join(', ');
  return (
    <section className="lesson-panel" aria-label="Where each letter goes">
      <h2>Where each letter goes</h2>
      <p className="live-letters" role="img" aria-label={`Where the letters go: ${said}.`}>
        {runs.map(({ text, expert, at }) => (
          <span key={at} className={`letters-${expert}`}>
            {text}
          </span>
        ))}
      </p>
    </section>
  );
}
