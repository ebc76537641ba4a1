// Where to start from: one of three built-in teachers, and how much time there is.

import { BUILT_IN_MODELS, type BuiltInName } from '../../built-in';
import { DURATIONS, PRESETS, type Preset, presetOf } from '../../presets';
import { isActive } from './shown-run';
import { useRun } from './store';

const TEACHERS = Object.keys(BUILT_IN_MODELS) as BuiltInName[];

const ONLY_SHORT_RUNS =
  'No runs this long were compared: its learning rate comes from runs of at most a twentieth of ' +
  'its steps.';

export function Presets() {
  const base = useRun((state) => state.base);
  const locked = useRun((state) => isActive(state.phase));
  const choose = useRun((state) => state.choosePreset);
  const chosen = presetOf(base);
  const rowOf = (teacher: BuiltInName, duration: Preset['duration']) =>
    PRESETS.find((preset) => preset.teacher === teacher && preset.duration === duration)!;
  const button = (label: string, pressed: boolean, preset: Preset) => (
    <button
      key={label}
      type="button"
      aria-pressed={pressed}
      disabled={locked}
      onClick={() => choose(preset)}
    >
      {label}
    </button>
  );
  return (
    <section className="presets" aria-label="Presets">
      <div className="choices">
        {TEACHERS.map((teacher) =>
          button(
            BUILT_IN_MODELS[teacher].label,
            teacher === chosen?.teacher,
            rowOf(teacher, chosen?.duration ?? DURATIONS[0]),
          ),
        )}
      </div>
      <div className="choices">
        {DURATIONS.map((duration) =>
          button(
            duration,
            duration === chosen?.duration,
            rowOf(chosen?.teacher ?? TEACHERS[0], duration),
          ),
        )}
      </div>
      {chosen && (
        <p className="help">
          {chosen.about} {chosen.searched || ONLY_SHORT_RUNS}
        </p>
      )}
    </section>
  );
}
