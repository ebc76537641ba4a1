// The recipe: what matters first, always in view, and all other settings by group, folded.

import type { Config, Field, FieldName } from '../../config';
import { checkConfig, FIELDS, isLive } from '../../config';
import { DataDrawer } from '../data/DataDrawer';
import { ModelField } from '../models/ModelField';
import { countChanged, ModelPair } from '../models/ModelPair';
import { Pairs } from '../models/Pairs';
import { Fold } from '../shared/Fold';
import { SweepPlan } from '../sweep/SweepPlan';
import { CacheNote } from './CacheNote';
import { FieldControl } from './FieldControl';
import { LossFormula, TemperatureFormula } from './Formula';
import { Plan } from './Plan';
import { Presets } from './Presets';
import { isActive } from './shown-run';
import { useRun } from './store';
import { TwinSwitch } from './TwinSwitch';

/** Always in view, with sliders and formulas. */
const FIRST: readonly FieldName[] = ['train_steps', 'alpha', 'temperature'];

const GROUPS: readonly { group: Field['group']; title: string }[] = [
  { group: 'recipe', title: 'Loss' },
  { group: 'routers', title: 'Routers' },
  { group: 'optimiser', title: 'Optimiser' },
  { group: 'data', title: 'Batches' },
  { group: 'evaluation', title: 'Evaluation' },
  { group: 'numerics', title: 'Numerics' },
];

/** A group's settings that nothing else on the page shows; the prompt is with the samples. */
function rowsOf(group: Field['group']): FieldName[] {
  return (Object.keys(FIELDS) as FieldName[]).filter(
    (name) => FIELDS[name].group === group && !FIRST.includes(name) && name !== 'prompt',
  );
}

export function Recipe() {
  return (
    <section className="recipe" aria-label="Recipe">
      <h2 className="recipe-title">Recipe</h2>
      <RecipeFields />
    </section>
  );
}

function RecipeFields() {
  const config = useRun((state) => state.config);
  const phase = useRun((state) => state.phase);
  const mismatch = checkConfig(config);
  return (
    <>
      <Presets />
      <ModelPair />
      <CacheNote />
      <Fields title="Teacher and student" names={rowsOf('models')} forced={mismatch.length > 0}>
        <Pairs />
        <Plan />
      </Fields>
      {mismatch.map((problem) => (
        <p key={problem} className="field-problem" role="alert">
          {problem}
        </p>
      ))}
      <div className="main-fields">
        <FieldControl name="train_steps" slider />
        <FieldControl name="alpha" slider label="α, teacher’s weight" />
        <LossFormula />
        <FieldControl name="temperature" slider label="T, temperature" />
        <TemperatureFormula />
        <TwinSwitch />
      </div>
      {isActive(phase) && (
        <p className="locked-note">
          {phase === 'running' || phase === 'paused'
            ? 'During a run only α, T, the learning rate, the prompt and the router balance can ' +
              'change.'
            : 'The settings are fixed until the run is reset.'}
        </p>
      )}
      {GROUPS.map(({ group, title }) => (
        <Fields key={group} title={title} names={rowsOf(group)} />
      ))}
      <DataDrawer />
      <SweepPlan />
    </>
  );
}

/** Sizes are a new student's: one that starts from a model has that model's. */
function shownFor(name: FieldName, { student_model }: Config): boolean {
  return (
    !['student_layers', 'student_width', 'student_heads'].includes(name) || student_model === ''
  );
}

/** A group of settings that folds away; what differs from the defaults is counted. */
function Fields({
  title,
  names,
  forced,
  children,
}: {
  title: string;
  names: readonly FieldName[];
  forced?: boolean;
  children?: React.ReactNode;
}) {
  const config = useRun((state) => state.config);
  const drafts = useRun((state) => state.drafts);
  const base = useRun((state) => state.base);
  const changed = countChanged(config, base, names);
  const wrong = names.some((name) => drafts[name]);
  return (
    <Fold
      title={title}
      aside={changed > 0 && <span className="changed-count">{changed} changed</span>}
      forced={forced || wrong}
    >
      <div className="fold-fields">
        {names
          .filter((name) => drafts[name] || shownFor(name, config))
          .map((name) =>
            name === 'teacher_model' || name === 'student_model' ? (
              <ModelField key={name} role={name === 'teacher_model' ? 'teacher' : 'student'} />
            ) : (
              <FieldControl key={name} name={name} slider={isLive(name)} />
            ),
          )}
        {children}
      </div>
    </Fold>
  );
}
