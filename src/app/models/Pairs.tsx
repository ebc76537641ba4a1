// Models of the hub that go together: one click takes a pair's settings. Nothing is loaded.

import { costOf, PAIRS, type Pair, settingsOf } from '../../pairs';
import { isActive } from '../run/shown-run';
import { useRun } from '../run/store';
import { formatBytes, formatCount } from '../shared/format';

const nameOf = (model: string) => model.slice(model.indexOf('/') + 1);

/** "gpt2 → distilgpt2", "Qwen3-0.6B → its layers 0, 9, 18, 27" */
const titleOf = ({ teacher, student }: Pair) =>
  `${nameOf(teacher)} → ` +
  (typeof student === 'string'
    ? nameOf(student)
    : `its layers ${student.layers.replaceAll(',', ', ')}`);

export function Pairs() {
  const locked = useRun((state) => isActive(state.phase));
  const config = useRun((state) => state.config);
  const choose = useRun((state) => state.choosePreset);
  return (
    <section aria-label="Pairs from Hugging Face">
      <p className="help">Pairs from Hugging Face. A choice loads nothing before the run.</p>
      <ul className="pairs">
        {PAIRS.map((pair) => {
          const title = titleOf(pair);
          const settings = settingsOf(pair);
          const { load, memory } = costOf(pair);
          const chosen = (['teacher_model', 'student_model', 'student_from_layers'] as const).every(
            (name) => settings[name] === config[name],
          );
          return (
            <li key={title}>
              <button
                type="button"
                className="quiet outlined"
                aria-pressed={chosen}
                disabled={locked}
                onClick={() => choose({ config: settings })}
              >
                {title}
              </button>
              <p className="help">
                {pair.why} {formatCount(pair.parameters)} parameters learn; {formatBytes(load)} to
                load, at least {formatBytes(memory)} of GPU memory.
              </p>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
