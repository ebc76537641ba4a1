// Rules that speak before the first step, from settings and sizes alone, and those about memory.

import type { Config } from '../../config';
import type { Evidence } from '../evidence';
import type { Rule } from '../rule';
import { bytes, count, counted, figure, rounded } from '../words';

/**
 * A usual peak learning rate of AdamW for a new student of N parameters: 6e-4 at 125 million, as
 * GPT-3's smallest model had, and higher for smaller ones, as 1e-3 at 10 million in nanoGPT and
 * 6e-3 at 0.2 million in this page's default.
 */
const NEW_MODEL = { rate: 6e-4, parameters: 125e6, power: 0.35 };
/** A trained model takes about a tenth, and its low-rank adapters ten times that. */
const TRAINED = { all: 0.1, adapters: 1 };
/** Either way. */
const FAR_OFF = { low: 10, high: 10 };

export function usualLearningRate({ config, facts }: Pick<Evidence, 'config' | 'facts'>): number {
  const { rate, parameters, power } = NEW_MODEL;
  const scratch = rate * (parameters / Math.max(1, facts.studentParameters)) ** power;
  if (config.student_model === '') return rounded(scratch);
  return rounded(scratch * (config.lora_rank > 0 ? TRAINED.adapters : TRAINED.all));
}

/** Starts a new student: at least at its usual rate, since a trained one takes a lower one. */
export function newStudent({ config, facts }: Pick<Evidence, 'config' | 'facts'>): Partial<Config> {
  const usual = usualLearningRate({ config: { ...config, student_model: '' }, facts });
  return {
    student_model: '',
    ...(config.student_from_layers !== '' && { student_from_layers: '' }),
    // Adapters are those of a trained student.
    ...(config.lora_rank > 0 && { lora_rank: 0 }),
    ...(config.student_lr < usual && { student_lr: usual }),
  };
}

export const unusualLearningRate: Rule = {
  title: 'The learning rate is unusual for this size',
  watches: 'student_lr, the student’s parameters, whether it starts trained, and lora_rank.',
  threshold:
    'Ten times above or below what AdamW usually takes: 6e-4 for a new model of 125 million ' +
    'parameters, 6e-3 for one of 0.2 million, a tenth of that for a trained one, and ten times ' +
    'that again for adapters (LoRA).',
  severity: 'warning',
  caveat: 'Sizes are a rule of thumb; the run itself shows more.',
  explainedBy: ['learning-rate-low', 'learning-rate-high'],
  look(evidence) {
    const { config, facts, steps } = evidence;
    // Once the run has been under way for a while, its records say more.
    if (steps.length > 50) return undefined;
    const usual = usualLearningRate(evidence);
    const { student_lr, student_model, lora_rank } = config;
    const low = student_lr * FAR_OFF.low < usual;
    if (!low && student_lr <= usual * FAR_OFF.high) return undefined;
    const trained = lora_rank > 0 ? 'adapters of a trained student' : 'a trained student';
    const start = student_model === '' ? 'a new student' : trained;
    return {
      text:
        `A learning rate of ${figure(student_lr)} is ${low ? 'low' : 'high'} for ${start} of ` +
        `${counted(facts.studentParameters, 'parameter')}; about ${figure(usual)} is usual.`,
      advice: `Set the learning rate to ${figure(usual)}.`,
      change: { student_lr: usual },
    };
  },
};

const TEMPERATURES = { low: 0.5, high: 10 };

export const unusualTemperature: Rule = {
  title: 'The temperature is unusual',
  watches: 'temperature, where the loss has a teacher.',
  threshold: 'Below 0.5 or above 10: published distillations of language models use 1 to 4.',
  severity: 'note',
  caveat: 'The teacher’s entropy at this temperature, measured in the run, says more.',
  explainedBy: ['temperature-flat'],
  look({ config: { loss, temperature, teacher_cache } }) {
    if (loss === 'ce') return undefined;
    const { low, high } = TEMPERATURES;
    if (temperature >= low && temperature <= high) return undefined;
    const effect =
      temperature > high
        ? 'flattens the teacher’s predictions'
        : 'leaves only the likeliest tokens';
    const again = teacher_cache === 'on' ? ' The cache is then written again.' : '';
    return {
      text: `A temperature of ${figure(temperature)} ${effect}; 1 to 4 is usual.`,
      advice: `Use a temperature of 2.${again}`,
      change: { temperature: 2 },
    };
  },
};

export const warmUpTooLong: Rule = {
  title: 'The warm-up takes most of the run',
  watches: 'warmup_steps and train_steps.',
  threshold: 'Over half of the steps: the peak learning rate then never works for long.',
  severity: 'warning',
  caveat: 'A run that is meant to be continued may be fine.',
  look({ config: { warmup_steps, train_steps } }) {
    if (warmup_steps <= train_steps / 2 || train_steps < 10) return undefined;
    const better = Math.round(train_steps / 10);
    return {
      text: `${counted(warmup_steps, 'step')} of ${count(train_steps)} are warm-up.`,
      advice: `Warm up over ${counted(better, 'step')}.`,
      change: { warmup_steps: better },
    };
  },
};

const LARGE_MEMORY = 1.5e9;

/** What would save most, of the settings that save memory and change no result or little. */
function saving({ config, facts }: Evidence): {
  text: string;
  change: Partial<Evidence['config']>;
} {
  const memory = facts.plannedMemory ?? {};
  const options = [
    {
      bytes: config.teacher_cache === 'off' ? (memory.teacher ?? 0) : 0,
      text: 'caching the teacher’s predictions (teacher_cache=on)',
      change: { teacher_cache: 'on' } as const,
    },
    {
      bytes: config.gradient_checkpointing === 'off' ? (memory.activations ?? 0) / 2 : 0,
      text: 'recomputing activations (gradient_checkpointing=on)',
      change: { gradient_checkpointing: 'on' } as const,
    },
    {
      bytes: config.batch_size > 1 ? ((memory.activations ?? 0) + (memory.logits ?? 0)) / 2 : 0,
      text: 'half the batch, accumulated twice',
      change: {
        batch_size: Math.max(1, Math.floor(config.batch_size / 2)),
        gradient_accumulation: Math.min(64, 2 * config.gradient_accumulation),
      },
    },
  ];
  const best = options.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  return { text: `${best.text} would free about ${bytes(best.bytes)}`, change: best.change };
}

export const largeMemory: Rule = {
  title: 'The run takes much memory',
  watches: 'The planned GPU memory, by purpose.',
  threshold:
    '1.5 GB: what a phone gives to one process, weights and page together. WebGPU does not tell ' +
    'how much there is.',
  severity: 'note',
  caveat: 'A card with its own memory takes many times that.',
  look(evidence) {
    const purposes = Object.entries(evidence.facts.plannedMemory ?? {});
    const total = purposes.reduce((sum, [, size]) => sum + size, 0);
    if (total <= LARGE_MEMORY) return undefined;
    const [purpose, most] = purposes.reduce((a, b) => (b[1] > a[1] ? b : a));
    const { text, change } = saving(evidence);
    return {
      text: `The run takes ${bytes(total)} of GPU memory, ${bytes(most)} of it for ${purpose}.`,
      advice: `Of the settings, ${text}.`,
      change,
    };
  },
};

const GROWTH = 1.02;

export const memoryGrows: Rule = {
  title: 'GPU memory grows',
  watches: 'GPU memory in use, at evaluations.',
  threshold:
    '2% above the first evaluation’s in three evaluations in a row, each more than the one ' +
    'before: all buffers of a run are made before its first step.',
  severity: 'problem',
  caveat: 'Memory that another part of the page takes counts, too.',
  look({ memory = [] }) {
    const [first] = memory;
    const recent = memory.slice(-3);
    if (memory.length < 4 || !recent.every(({ bytes }) => bytes > GROWTH * first.bytes))
      return undefined;
    if (!(recent[0].bytes < recent[1].bytes && recent[1].bytes < recent[2].bytes)) return undefined;
    const last = recent[2];
    return {
      text:
        `GPU memory grew from ${bytes(first.bytes)} at step ${count(first.step)} to ` +
        `${bytes(last.bytes)} at step ${count(last.step)}.`,
      advice: 'Something keeps its buffers: note the step, export the student, and report it.',
    };
  },
};
