// A walk through the page, which can be left at any step: with Escape, the close button or a click
// beside it.

import { driver } from 'driver.js';
import 'driver.js/dist/driver.css';
import './tour.css';
import { TOUR } from './steps';

export function runTour(): void {
  const back = document.activeElement;
  const tour = driver({
    steps: TOUR.map(({ target, title, text }) => ({
      element: target,
      popover: { title, description: text },
    })),
    animate: false,
    showProgress: true,
    progressText: '{{current}} of {{total}}',
    nextBtnText: 'Next',
    prevBtnText: 'Back',
    doneBtnText: 'Done',
    popoverClass: 'tour',
    stagePadding: 4,
    stageRadius: 6,
    onPopoverRender: ({ title }) => {
      // The library makes it a header, and the page has one already.
      title.setAttribute('role', 'none');
    },
    onDestroyed: () => {
      moved.disconnect();
      if (back instanceof HTMLElement && back.isConnected) back.focus();
    },
  });
  // A notice that comes meanwhile moves what a step points at.
  const moved = new ResizeObserver(() => tour.refresh());
  tour.drive();
  const pointedAt = TOUR.map(({ target }) => document.querySelector(target));
  for (const element of [document.body, ...pointedAt]) if (element) moved.observe(element);
}
