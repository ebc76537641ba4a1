// Teacher and student, drawn with areas in proportion to their parameters once those are known.

import { BUILT_IN_MODELS, isBuiltIn } from '../../built-in';
import type { Config, FieldName } from '../../config';
import type { ModelReport, Role as RoleName } from '../../worker/protocol';
import { useRun } from '../run/store';
import { formatCount, plural } from '../shared/format';
import type { RequestStore } from '../shared/request';
import { Term } from '../shared/Term';
import { type LookedUp, lookUps } from './store';

const SHAPE: readonly FieldName[] = [
  ...(['student_layers', 'student_width', 'student_heads', 'max_length'] as const),
  ...(['student_model', 'student_from_layers', 'teacher_model'] as const),
  ...(['student_experts', 'experts_per_token', 'lora_rank', 'lora_targets'] as const),
  ...(['train_router', 'train_only_router'] as const),
];

export function ModelPair() {
  const config = useRun((state) => state.config);
  const run = useRun((state) => state.run);
  useRun((state) => state.commits);
  const sameTeacher = run?.config.teacher_model === config.teacher_model;
  const lookedUp = {
    teacher: parametersOf('teacher', lookUps.teacher(), config),
    student: parametersOf('student', lookUps.student(), config),
  };
  const teacher = (sameTeacher ? run?.report?.teacherParameters : undefined) ?? lookedUp.teacher;
  // Counts belong to the shape that they were counted for.
  const sameShape = run && SHAPE.every((name) => run.config[name] === config[name]);
  const student = (sameShape ? run.report?.studentParameters : undefined) ?? lookedUp.student;
  const trained = sameShape ? run.report?.trainedParameters : undefined;
  const active = sameShape ? run.report?.activeParameters : undefined;
  const side = teacher && student ? 44 * Math.min(1, Math.sqrt(student / teacher)) : undefined;
  const height = 61 + (side ?? 20) + 3;
  return (
    <div className="models">
      <svg
        className="model-areas"
        viewBox={`0 0 48 ${height}`}
        width="48"
        height={height}
        aria-hidden="true"
      >
        <rect x="2" y="2" width="44" height="44" rx="3" className="teacher-area" />
        <path d="M24 49v8m-3-3l3 3l3-3" className="flow" />
        {side !== undefined ? (
          <rect
            x={24 - side / 2}
            y="61"
            width={side}
            height={side}
            rx="2"
            className="student-area"
          />
        ) : (
          <rect x="14" y="61" width="20" height="20" rx="2" className="student-area unknown" />
        )}
      </svg>
      <div>
        <p className="model">
          <strong>{config.teacher_model}</strong> <Role of="teacher" />
        </p>
        <p className="model-detail">
          {teacher === undefined
            ? 'parameters are counted on loading'
            : `${formatCount(teacher)} parameters`}
          {isBuiltIn(config.teacher_model) && (
            <>
              , {BUILT_IN_MODELS[config.teacher_model].bitsPerCharacter}{' '}
              <Term of="bitsPerCharacter">bits per character</Term>
            </>
          )}
        </p>
        <p className="model student">
          <strong>{studentName(config)}</strong> <Role of="student" />
        </p>
        <p className="model-detail">
          {[
            ...(config.student_model === ''
              ? [plural(config.student_layers, 'block'), plural(config.student_heads, 'head')]
              : ['starts from its weights']),
            ...expertsText(config),
            ...trainedText(config, trained),
            ...(student === undefined ? [] : [`${formatCount(student)} parameters`]),
            ...(active === undefined ? [] : [`${formatCount(active)} of them active per token`]),
            ...(teacher && student ? [`${(teacher / student).toPrecision(2)}× smaller`] : []),
          ].join(', ')}
        </p>
      </div>
    </div>
  );
}

function expertsText({ student_experts, experts_per_token }: Config): string[] {
  if (student_experts === 0) return [];
  return [`${experts_per_token} of ${plural(student_experts, 'expert')} per token`];
}

/** What trains, if only adapters or routers do, or all but those. */
function trainedText(config: Config, trained?: number): string[] {
  const { student_model, lora_rank, train_router, train_only_router } = config;
  const counted = trained === undefined ? '' : `: ${formatCount(trained)} parameters`;
  if (train_only_router === 'on') return [`only routers train${counted}`];
  if (train_router === 'off') return [`all but routers train${counted}`];
  if (student_model === '' || lora_rank === 0) return [];
  return [`adapters of rank ${lora_rank} train${counted}`];
}

const Role = ({ of }: { of: 'teacher' | 'student' }) => (
  <span className="role">
    <Term of={of}>{of}</Term>
  </span>
);

/** Parameters of the model that was looked up, if the field still names it. */
function parametersOf(
  role: RoleName,
  { input, request }: RequestStore<LookedUp, ModelReport, never>,
  config: Config,
): number | undefined {
  const current = request.status === 'done' && input?.reference === config[`${role}_model`];
  return current ? request.value.parameters : undefined;
}

/** "2 × 64", "layers 0, 3" or a model's name. */
export function studentName({
  student_model,
  student_from_layers,
  student_layers,
  student_width,
}: Config): string {
  if (student_model === '') return `${student_layers} × ${student_width}`;
  return student_model === 'teacher'
    ? `layers ${student_from_layers.replaceAll(',', ', ')}`
    : student_model;
}

/** How many of these settings differ from those that the recipe started from. */
export function countChanged(
  config: Record<FieldName, unknown>,
  base: Record<FieldName, unknown>,
  names: readonly FieldName[],
): number {
  return names.filter((name) => config[name] !== base[name]).length;
}
