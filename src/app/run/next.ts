// What to try after a run, a row each. Opening one starts nothing. Pure.

import { type Config, WITHOUT_TEACHER } from '../../config';
import { formatLink } from '../../link';
import { PRESETS } from '../../presets';
import { labHash } from '../shared/rooms';

interface Next {
  label: string;
  hash: string;
}

/** Those that the run was not itself. */
export function nextOf(config: Config): Next[] {
  const link = formatLink(config);
  const longer = PRESETS.filter(
    ({ teacher, duration }) => teacher === config.teacher_model && duration === 'Five minutes',
  );
  const rows: (Next & { fits?: boolean })[] = [
    {
      label: 'See what the teacher is worth: beside a twin that has none',
      hash: formatLink({ ...config, twin: WITHOUT_TEACHER }),
      fits: config.loss !== 'ce' && config.twin === '',
    },
    ...longer.map((preset) => ({
      label: `Five minutes. ${preset.about}`,
      hash: formatLink(preset.config),
    })),
    { label: 'Lesson: what soft labels carry', hash: labHash('lessons', 'soft').slice(1) },
  ];
  return rows
    .filter(({ hash, fits = true }) => fits && hash !== link)
    .map(({ label, hash }) => ({ label, hash: `#${hash}` }));
}
