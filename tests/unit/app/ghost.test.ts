// The run of a link on the page: what is drawn of it, and what is said of one's own run beside it.

import { describe, expect, test } from 'vitest';
import { stepLine } from '../../../src/app/charts/compare';
import { RunHistory } from '../../../src/app/charts/history';
import { ghostText, raceSentences, type ShownGhost, withGhost } from '../../../src/app/run/ghost';
import { INITIAL, reduce } from '../../../src/app/run/reduce';
import type { Mark, ShownRun } from '../../../src/app/run/shown-run';
import { type Config, DEFAULTS } from '../../../src/config';
import { formatLink, parseLink } from '../../../src/link';
import { evaluationRecord, stepRecord } from './support';

const STEPS = DEFAULTS.train_steps;

/** A run up to `last`, evaluated every 20 steps, with perplexities of 2004 − `less` per step. */
function runTo(last: number, less: number, marks: Mark[] = []): ShownRun {
  const history = new RunHistory(STEPS);
  history.append(Array.from({ length: last }, (_, i) => stepRecord(i + 1)));
  for (let step = 0; step <= last; step += 20)
    history.appendEvaluation({
      ...evaluationRecord(step),
      studentPerplexity: 2004 - less * step,
    });
  const adapter = { name: 'Apple M3 Max' } as ShownRun['adapter'];
  return { id: 'x', source: 'live', config: DEFAULTS, history, adapter, marks, events: [] };
}

/** What a link to a run opens. */
function shared(run: ShownRun, edit = (link: string) => link): ShownGhost {
  const link = withGhost(parseLink(edit(formatLink(run.config, ghostText(run, 'amber heron')))));
  if ('problems' in link || !link.ghost) throw new Error('The link has no ghost.');
  return link.ghost;
}

const said = (
  ghost: ShownGhost,
  mine: { config?: Config; run?: ShownRun; phase?: 'idle' | 'running' | 'finished' } = {},
  ownText = false,
) => {
  const { config = DEFAULTS, run, phase = 'idle' } = mine;
  return raceSentences(ghost, { config, run, phase, ownText }).join(' ');
};

describe('what a link brings', () => {
  const ghost = shared(runTo(STEPS, 5));

  test('has a name, an adapter, its settings, and steps and tokens for the axis', () => {
    expect(ghost).toMatchObject({ label: 'amber heron · Apple M3 Max (shared)', config: DEFAULTS });
    expect(ghost.history.lastStep).toBe(STEPS);
    const tokens = runTo(STEPS, 5).history.xOf(STEPS, 'tokens') ?? Number.NaN;
    expect(ghost.history.xOf(STEPS, 'tokens')).toBe(tokens);
    for (const { step } of ghost.history.evaluations)
      expect(ghost.history.xOf(step, 'tokens')).toBeDefined();
  });

  test('is drawn as it is: means over stretches are smooth', () => {
    const { points, raw } = stepLine(ghost.history, 'loss', { x: 'step', weight: 0, limit: 500 });
    expect(points).toEqual(raw);
    expect(ghost.means).toBe(true);
  });

  test('goes only when it is removed or another link is opened', () => {
    const link = { type: 'link' as const, link: { config: DEFAULTS, ghost } };
    const opened = reduce(INITIAL, link, 0);
    const changed = reduce(opened, { type: 'field', name: 'alpha', text: '0.4' }, 0);
    expect(changed.ghost).toBe(ghost);
    expect(reduce(changed, { type: 'reset' }, 0).ghost).toBe(ghost);
    expect(reduce(changed, { type: 'link', link: { problems: ['no'] } }, 0).ghost).toBe(ghost);
    expect(reduce(changed, { type: 'dismiss', notice: 'ghost' }, 0).ghost).toBeUndefined();
    const plain = reduce(changed, { type: 'link', link: { config: DEFAULTS } }, 0);
    expect(plain.ghost).toBeUndefined();
  });

  test('is dropped with a reason if it is damaged, and the settings stay', () => {
    const opened = withGhost(parseLink('#v=1&alpha=0.4&ghost=AQ'));
    const state = reduce(INITIAL, { type: 'link', link: opened }, 0);
    expect(state.config.alpha).toBe(0.4);
    expect(state.ghost).toBeUndefined();
    expect(state.ghostProblem).toContain('It is damaged');
  });
});

describe('the race', () => {
  const ghost = shared(runTo(STEPS, 5));

  test('waits, goes on, and has a verdict at the end', () => {
    expect(said(ghost)).toBe(
      '“amber heron” reached perplexity 1,004 at step 200. Press Distil to race it.',
    );
    expect(said(ghost, { run: runTo(10, 6), phase: 'running' })).toMatch(/^“amber heron” reached/);
    expect(said(ghost, { run: runTo(130, 6), phase: 'running' })).toBe(
      'At step 120 yours was at perplexity 1,284, theirs at 1,404.',
    );
    expect(said(ghost, { run: runTo(STEPS, 6), phase: 'finished' })).toBe(
      'Yours ended at perplexity 804.0, theirs at 1,004.',
    );
  });

  test('against a run that was shared before its end is decided at its last evaluation', () => {
    const early = shared(runTo(90, 5));
    expect(said(early, { run: runTo(STEPS, 6), phase: 'finished' })).toBe(
      'At step 80 yours was at perplexity 1,524, theirs at 1,604.',
    );
  });

  test('is none between different settings or texts, and says in what they differ', () => {
    const finished = { run: runTo(STEPS, 6), phase: 'finished' as const };
    const config = { ...DEFAULTS, alpha: 0.2, train_steps: 400 };
    expect(said(ghost, { ...finished, config })).toMatch(/Your settings differ: α 0\.2, Steps 400/);
    const edited = shared(runTo(STEPS, 5), (link) => `${link}&alpha=0.2`);
    expect(edited.config).toBeUndefined();
    expect(said(edited, finished)).toContain('settings were edited after it was shared');
    const changed = shared(runTo(STEPS, 5, [{ step: 40, text: 'α 0.7 → 0.4' }]));
    expect(said(changed, finished)).toContain('Its settings were changed while it trained');
    expect(said(ghost, finished, true)).toContain('It read the built-in text');
    for (const text of [said(edited, finished), said(ghost, finished, true)])
      expect(text).not.toContain('ended');
  });
});
