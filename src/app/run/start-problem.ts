// Why the primary button, and a sweep, cannot start a run.

import { type Config, checkConfig } from '../../config';
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
  return checkConfig(config)[0] ?? dataObstacle(useData.getState(), corpus) ?? filesProblem(config);
}

/** Which model's files are missing: dropped ones are forgotten by a reload. */
export function filesProblem({ teacher_model, student_model }: Config): string | undefined {
  const { dropped } = useModels.getState();
  return (
    missingFiles('teacher', teacher_model, dropped) ??
    missingFiles('student', student_model, dropped)
  );
}
