// The table of settings, whose rows are in fields/: the page's controls, links and the command line
// all read them. Names come from the training script that this project grew out of, where it had
// one.

import { alignedProblem } from './divergences';
import { allowedValues, checkValue, shown } from './field';
import { DATA_FIELDS, EVALUATION_FIELDS } from './fields/data';
import { MODEL_FIELDS } from './fields/models';
import { NUMERICS_FIELDS, OPTIMISER_FIELDS } from './fields/optimiser';
import { RECIPE_FIELDS } from './fields/recipe';
import { ROUTER_FIELDS } from './fields/routers';

export { type Field, shown } from './field';

const or = new Intl.ListFormat('en-GB', { type: 'disjunction' });

export const FIELDS = {
  ...MODEL_FIELDS,
  ...ROUTER_FIELDS,
  ...RECIPE_FIELDS,
  ...OPTIMISER_FIELDS,
  ...DATA_FIELDS,
  ...EVALUATION_FIELDS,
  ...NUMERICS_FIELDS,
};

export type FieldName = keyof typeof FIELDS;
type Value<F> = F extends { type: 'choice'; choices: readonly (infer C)[] }
  ? C
  : F extends { type: 'text' }
    ? string
    : number;
export type Config = { -readonly [K in FieldName]: Value<(typeof FIELDS)[K]> };

/** The fields whose row says `live`: they may change during a run. */
type LiveField = {
  [K in FieldName]: (typeof FIELDS)[K] extends { live: true } ? K : never;
}[FieldName];
export type LiveChanges = Partial<Pick<Config, LiveField>>;

export const isLive = (name: FieldName): name is LiveField => 'live' in FIELDS[name];

export const DEFAULTS = Object.fromEntries(
  Object.entries(FIELDS).map(([name, field]) => [name, field.default]),
) as Config;

/** Whether a row has this name. False for names that every object inherits, such as toString. */
export function isFieldName(name: string): name is FieldName {
  return Object.hasOwn(FIELDS, name);
}

/** What a twin may change: neither its batches, nor its initial weights, nor its evaluation. */
const TWIN_FIELDS = [
  'loss',
  'kd_loss',
  'kd_beta',
  'label_smoothing',
  'z_loss',
  'alpha',
  'temperature',
  'student_lr',
  'lr_schedule',
  'warmup_steps',
  'weight_decay',
  'adam_beta1',
  'adam_beta2',
  'max_grad_norm',
  'router_balance',
  'router_z',
  'router_kd',
  'router_bias_rate',
  'train_router',
  'train_only_router',
] as const satisfies readonly FieldName[];

/** The twin that learns from the data alone. */
export const WITHOUT_TEACHER = 'loss=ce';

/** The one setting in which the twin differs; undefined without a twin, or with a wrong one. */
export function twinChange({ twin }: Pick<Config, 'twin'>): Partial<Config> | undefined {
  const [, name = '', text = ''] = /^([^=]+)=(.*)$/.exec(twin) ?? [];
  const field = TWIN_FIELDS.find((candidate) => candidate === name);
  if (!field) return undefined;
  const value = FIELDS[field].type === 'choice' || text.trim() === '' ? text : Number(text);
  return checkField(field, value) === undefined ? { [field]: value } : undefined;
}

/** Positions, padding among them, that an optimiser step learns from. */
export const tokensPerStep = (
  sizes: Pick<Config, 'batch_size' | 'max_length' | 'gradient_accumulation'>,
): number => sizes.batch_size * sizes.max_length * sizes.gradient_accumulation;

/** Steps that the twin has taken after so many of the run: a whole number. */
export function twinStep({ twin_pace }: Pick<Config, 'twin_pace'>, step: number): number {
  // 1.15 × 100 is a little less than 115 in binary.
  return Math.floor(step * twin_pace + 1e-9);
}

/** The settings of a run's twin, as a run of its own; undefined if it has none. */
export function twinConfig(config: Config): Config | undefined {
  const change = twinChange(config);
  if (!change) return undefined;
  const train_steps = Math.max(1, twinStep(config, config.train_steps));
  return { ...config, ...change, train_steps, twin: '', twin_pace: DEFAULTS.twin_pace };
}

function twinProblem(config: Config): string | undefined {
  if (config.twin === '') return undefined;
  const twin = twinConfig(config);
  if (!twin) {
    const [name] = config.twin.split('=');
    const field = TWIN_FIELDS.find((candidate) => candidate === name);
    const rule = field
      ? `${field} must be ${allowed(field)}.`
      : `A twin may differ in ${or.format(TWIN_FIELDS)}.`;
    return `twin is ${shown(config.twin)}. ${rule}`;
  }
  if (TWIN_FIELDS.every((name) => twin[name] === config[name])) {
    return (
      `twin is ${shown(config.twin)}, which is the run’s own value. ` +
      'Give another one, or leave it empty.'
    );
  }
  const { teacher_cache, cache_top_k, temperature } = config;
  if (teacher_cache === 'off' || cache_top_k === 0 || twin.temperature === temperature)
    return undefined;
  return (
    `twin is ${shown(config.twin)}, but a cache of ${cache_top_k} tokens serves one temperature, ` +
    `${temperature}. Use cache_top_k=0, which serves every temperature.`
  );
}

/** The allowed values, as the end of a sentence: "a whole number from 1 to 12". */
export const allowed = (name: FieldName): string => allowedValues(FIELDS[name]);

/** An error message with the value and the allowed values; undefined if the value is valid. */
export const checkField = (name: FieldName, value: unknown): string | undefined =>
  checkValue(name, FIELDS[name], value);

/**
 * Everything that is wrong with a config, one line a problem; empty if it can run. First each field
 * by itself, then whether the fields fit together. A warm-up longer than the run is allowed: the
 * run then ends while the learning rate is still rising.
 */
export function checkConfig(config: Config): string[] {
  const problems = (Object.keys(FIELDS) as FieldName[]).flatMap(
    (name) => checkField(name, config[name]) ?? [],
  );
  if (problems.length > 0) return problems;
  const { student_width: width, student_heads: heads } = config;
  const { student_model: start, student_from_layers: layers } = config;
  if (start === 'teacher' && layers === '') {
    problems.push(
      'student_model is teacher, but student_from_layers is empty. List the layers, such as 0,1.',
    );
  }
  if (start !== 'teacher' && layers !== '') {
    problems.push(
      `student_from_layers is ${shown(layers)}, but student_model is ${shown(start)}. ` +
        'Layers are copied only with student_model=teacher.',
    );
  }
  if (config.teacher_dtype !== 'auto' && config.teacher_engine === 'stillhouse') {
    problems.push(
      `teacher_dtype is ${config.teacher_dtype}, a file that onnxruntime runs, but ` +
        'teacher_engine is stillhouse. Use teacher_engine=auto, or teacher_dtype=auto.',
    );
  }
  if (config.base_weights === 'int8' && config.lora_rank === 0) {
    problems.push(
      'base_weights is int8, but lora_rank is 0: weights that train are not rounded. ' +
        'Use base_weights=full, or a lora_rank of 8 or 16.',
    );
  }
  if (config.train_only_router === 'on' && config.train_router === 'off') {
    problems.push(
      'train_only_router is on and train_router is off: nothing would train. Change one of them.',
    );
  }
  if (config.train_only_router === 'on' && config.lora_rank > 0) {
    problems.push(
      `train_only_router is on and lora_rank is ${config.lora_rank}, but adapters train alone. ` +
        'Use train_only_router=off, or lora_rank=0.',
    );
  }
  const { router_bias_rate: biasRate } = config;
  if (biasRate > 0 && (config.train_router === 'off' || config.lora_rank > 0)) {
    const frozen = config.lora_rank > 0 ? 'lora_rank' : 'train_router';
    problems.push(
      `router_bias_rate is ${biasRate}, but with ${frozen}=${config[frozen]} routers are frozen, ` +
        'their biases too. Use router_bias_rate=0, or let routers train.',
    );
  }
  if (start === '' && config.lora_rank > 0) {
    problems.push(
      `lora_rank is ${config.lora_rank}, but student_model is empty: a new student has nothing ` +
        'to keep frozen. Give student_model a model, or use lora_rank=0.',
    );
  }
  const { student_experts: experts, experts_per_token: perToken } = config;
  if (experts > 0 && perToken > experts) {
    problems.push(
      `experts_per_token is ${perToken}, but student_experts is ${experts}. ` +
        `Use experts_per_token=${experts} at most, or more experts.`,
    );
  }
  if (experts > 0 && config.lora_rank > 0) {
    problems.push(
      `student_experts is ${experts} and lora_rank is ${config.lora_rank}: beside frozen weights ` +
        'the experts would stay equal, and their router random. Use student_experts=0 or ' +
        'lora_rank=0.',
    );
  }
  const losses = [config, twinConfig(config)].map((one) => one && alignedProblem(one));
  problems.push(...[twinProblem(config), ...new Set(losses)].filter((one) => one !== undefined));
  // Sizes are for a new student; one that starts from a model has that model's sizes.
  const unit = 4 * heads;
  if (start === '' && width % unit !== 0) {
    const below = width - (width % unit);
    const { min, max } = FIELDS.student_width;
    const nearest = [below, below + unit].filter((value) => value >= min && value <= max);
    problems.push(
      `student_width is ${width} and student_heads is ${heads}. ` +
        `The width must be a multiple of 4 × heads = ${unit}, such as ${nearest.join(' or ')}.`,
    );
  }
  return problems;
}
