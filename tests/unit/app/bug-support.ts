// Shared by the Bug Lab's unit tests: a fresh store, and reports that arrive as messages from the
// worker.

import { act } from '@testing-library/react';
import { useBugLab } from '../../../src/app/bug/store';
import { useRoom } from '../../../src/app/shared/rooms';
import type { BugLabReport, Failure } from '../../../src/worker/protocol';
import { freshStore, report as progress, reject, resolve } from './support';

export function freshBugLab(): void {
  freshStore();
  useRoom.setState({ room: 'bugLab', strideLab: '', bugLab: '' });
  useBugLab.setState(useBugLab.getInitialState(), true);
}

export const loading = (detail: string) => act(() => progress('bug-lab', { detail }));

export const report = (value: BugLabReport) => act(() => progress('bug-lab', { report: value }));

/** Ends the experiment, which commits all reports. */
export const finish = () => act(() => resolve('bug-lab', undefined));

export const fail = (failure: Failure) => act(() => reject('bug-lab', failure));
