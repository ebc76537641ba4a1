// @vitest-environment jsdom
// The scrubber: which samples it stops at, and what it says of the one that is chosen.

import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Samples } from '../../../src/app/run/Samples';
import { sampleStops } from '../../../src/app/run/sample-stops';
import { useRun } from '../../../src/app/run/store';
import { isSampleStep } from '../../../src/distill/schedule';
import type { SampleRecord } from '../../../src/worker/protocol';
import { evaluationRecord, freshStore, receive, stubBrowser } from './support';

const sampleAt = (step: number, prompt = 'The whale'): SampleRecord => ({
  step,
  sample: { prompt, teacher: ' was white', student: ` said ${step}` },
});
const stepsOf = (samples: SampleRecord[]) => sampleStops(samples).map(({ step }) => step);

test('a run samples after ever fewer of its steps', () => {
  const steps = Array.from({ length: 3000 }, (_, index) => index + 1);
  expect(steps.filter(isSampleStep)).toEqual([1, 3, 10, 30, 100, 300, 1000, 3000]);
});

describe('stops', () => {
  test('are the first, the last, and those nearest to 1, 3, 10, 30 and so on', () => {
    expect(stepsOf([])).toEqual([]);
    expect(stepsOf([sampleAt(0)])).toEqual([0]);
    const taken = [0, 1, 3, 10, 20, 30, 40, 60, 80, 100, 120, 140, 160, 180, 200];
    expect(stepsOf(taken.map((step) => sampleAt(step)))).toEqual([0, 1, 3, 10, 30, 100, 200]);
    // A recording that has evaluations only.
    const evaluated = Array.from({ length: 11 }, (_, index) => sampleAt(20 * index));
    expect(stepsOf(evaluated)).toEqual([0, 20, 40, 100, 200]);
  });

  test('stay few in a long run, and have every change of the prompt', () => {
    const long = Array.from({ length: 5001 }, (_, index) =>
      sampleAt(20 * index, index < 777 ? 'The whale' : 'The sea'),
    );
    const stops = sampleStops(long);
    expect(stops.length).toBeLessThan(14);
    expect(stops.filter(({ newPrompt }) => newPrompt).map(({ step }) => step)).toEqual([15_540]);
  });
});

describe('the slider', () => {
  beforeEach(() => stubBrowser());
  afterEach(() => {
    cleanup();
    freshStore();
    vi.unstubAllGlobals();
  });

  test('shows what was said after a step, and at its end follows the run', () => {
    render(<Samples />);
    act(() => useRun.getState().start());
    const runId = useRun.getState().run?.id ?? '';
    const say = (record: SampleRecord) => act(() => receive({ type: 'sample', runId, record }));
    const commit = () => act(() => new Promise((done) => setTimeout(done, 220)));
    act(() => receive({ type: 'evaluation', runId, record: evaluationRecord(0) }));
    say(sampleAt(1));
    say(sampleAt(3, 'The sea'));
    return commit().then(async () => {
      const slider = screen.getByLabelText('What the student said after step');
      expect(slider.getAttribute('aria-valuetext')).toBe(
        'step 3, new prompt “The sea”: The sea said 3',
      );
      fireEvent.change(slider, { target: { value: '1' } });
      expect(slider.getAttribute('aria-valuetext')).toBe('step 1: The whale said 1');
      expect(screen.getByText('Student, after step 1')).toBeTruthy();
      say(sampleAt(10, 'The sea'));
      await commit();
      expect(slider.getAttribute('aria-valuetext')).toBe('step 1: The whale said 1');
      fireEvent.change(slider, { target: { value: '3' } });
      expect(screen.getByText('Student, now')).toBeTruthy();
      say(sampleAt(30, 'The sea'));
      await commit();
      expect(slider.getAttribute('aria-valuetext')).toBe('step 30: The sea said 30');
    });
  });
});
