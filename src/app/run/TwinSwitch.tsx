// The switch for a twin: a second student that learns without the teacher. Another difference is
// typed into the field with the other settings of the loss.

import { FIELDS, WITHOUT_TEACHER } from '../../config';
import { isActive } from './shown-run';
import { useRun } from './store';

export function TwinSwitch() {
  const twin = useRun((state) => state.config.twin);
  const locked = useRun((state) => isActive(state.phase));
  const setField = useRun((state) => state.setField);
  return (
    <label className="twin-switch" title={FIELDS.twin.help}>
      <input
        type="checkbox"
        checked={twin !== ''}
        disabled={locked}
        onChange={(event) => setField('twin', event.target.checked ? WITHOUT_TEACHER : '')}
      />
      {twin === '' || twin === WITHOUT_TEACHER
        ? 'Train a twin without the teacher'
        : `Train a twin with ${twin}`}
    </label>
  );
}
