// Why the primary button, and a sweep, cannot start a run.

import { checkConfig } from '../../config';
import { dataObstacle, useData } from '../data/store';
import { missingFiles, useModels } from '../models/store';
import type { RunState } from './reduce';

/** Why no run can start now. */
export function startProblem({
  unavailable,
  drafts,
  config,
  corpus,
}: RunState): string | undefined {
  if (unavailable) return 'No run can start on this machine.';
  const wrong = Object.keys(drafts);
  if (wrong.length > 0) return `Correct ${wrong.join(', ')} first.`;
  const { dropped } = useModels.getState();
  return (
    checkConfig(config)[0] ??
    dataObstacle(useData.getState(), corpus) ??
    missingFiles('teacher', config.teacher_model, dropped) ??
    missingFiles('student', config.student_model, dropped)
  );
}
