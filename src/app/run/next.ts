// What to try after a run, a row each. Opening one starts nothing. Pure.

import { type Config, checkConfig, WITHOUT_TEACHER } from '../../config';
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
  const compared = { ...config, twin: WITHOUT_TEACHER };
  // A run of the data's loss alone can have no twin that differs from it so.
  const comparable = config.twin === '' && checkConfig(compared).length === 0;
  const worth = 'See what the teacher is worth: beside a twin that has none';
  const rows: Next[] = [
    ...(comparable ? [{ label: worth, hash: formatLink(compared) }] : []),
    ...longer.map((preset) => ({
      label: `Five minutes. ${preset.about}`,
      hash: formatLink(preset.config),
    })),
    { label: 'Lesson: what soft labels carry', hash: labHash('lessons', 'soft').slice(1) },
  ];
  return rows
    .filter(({ hash }) => hash !== link)
    .map(({ label, hash }) => ({ label, hash: `#${hash}` }));
}
