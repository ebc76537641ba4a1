// @vitest-environment jsdom
// The lesson on routers trains in the frames that the browser gives a page that is seen.

import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';
import { LiveExperts } from '../../../src/app/lessons/LiveExperts';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test('a hidden tab trains no further, and goes on to the end when it is seen again', () => {
  const waiting = new Map<number, FrameRequestCallback>();
  let frames = 0;
  vi.stubGlobal('requestAnimationFrame', (callback: FrameRequestCallback) => {
    waiting.set(++frames, callback);
    return frames;
  });
  vi.stubGlobal('cancelAnimationFrame', (id: number) => waiting.delete(id));
  const frame = () =>
    act(() => {
      const [[id, callback]] = waiting;
      waiting.delete(id);
      callback(0);
    });
  const step = () => Number(/^Step (\d+)/.exec(screen.getByTestId('live').textContent ?? '')?.[1]);
  render(<LiveExperts balance={0.01} />);
  expect(step()).toBe(0);
  frame();
  const before = step();
  expect(before).toBeGreaterThan(0);
  // An hour without frames: one waits, and no timer trains instead.
  vi.useFakeTimers();
  act(() => vi.advanceTimersByTime(3_600_000));
  vi.useRealTimers();
  expect([step(), waiting.size]).toEqual([before, 1]);
  while (waiting.size > 0) frame();
  expect(step()).toBe(160);
  screen.getByRole('button', { name: 'Train on' });
});
