// The recipe's README.md: readme.md with what depends on the run.

import { type Config, DEFAULTS } from '../../config';
import { ROUTER_SETTINGS } from '../router-training';
import text from './readme.md?raw';

export interface HubModel {
  id: string;
  revision: string;
}

interface Facts {
  config: Readonly<Config>;
  /** Of the checkpoint, if there is one. */
  step?: number;
  /** Models that Python loads from the hub; the others are in the folder. */
  hubStudent?: HubModel;
  hubTeacher?: HubModel;
  corpus: { name: string; own: boolean; sha256: string };
}

export function readme({ config, step, hubStudent, hubTeacher, corpus }: Facts): string {
  const values: Record<string, string> = {
    checkpoint: step === undefined ? '' : checkpoint(step),
    batch: String(config.batch_size),
    twin:
      config.twin && ` The twin, ${config.twin}, is a run of its own: give its setting as a flag.`,
    corpus: corpus.name,
    own: corpus.own ? ' They are your own text, which anyone with this folder can read.' : '',
    sha256: corpus.sha256,
    student: hubStudent
      ? `The student starts from ${named(hubStudent)}; \`student/\` has the tokenizer alone.`
      : '`student/` has the weights that the run starts from, and the tokenizer.',
    adapter:
      config.lora_rank > 0
        ? 'It stays frozen: its LoRA adapters train, from those in `adapter/`, with PEFT. '
        : '',
    teacher: hubTeacher ? `The teacher is ${named(hubTeacher)}.` : '`teacher/` is the teacher.',
    trl: inTrl(config),
  };
  return text.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name]);
}

const named = ({ id, revision }: HubModel) => `${id} at ${revision} on the Hugging Face hub`;

const checkpoint = (step: number) => `
\`checkpoint/\` is the run after step ${step}: weights, both moments of AdamW and the step, from
which the data’s position follows. To go on from there instead of from the start:

\`\`\`bash
python distill.py --output_dir out --resume checkpoint
\`\`\`
`;

/** The run's only divergence, if TRL's GKDTrainer has it: a file of the recipe trains with that. */
export function inGkd(config: Readonly<Config>): boolean {
  const { loss, kd_loss, alpha, packing, lora_rank } = config;
  const kind = loss === 'mixed' && alpha === 1 ? kd_loss : loss;
  const plain = ROUTER_SETTINGS.every((name) => config[name] === DEFAULTS[name]);
  return ['fkl', 'rkl', 'jsd'].includes(kind) && packing !== 'masked' && lora_rank === 0 && plain;
}

/** Whether TRL can express the run, and how. */
function inTrl(config: Readonly<Config>): string {
  if (inGkd(config)) {
    return (
      'This run’s loss is one of them: `pip install trl==1.13.0 && python gkd.py` trains it with ' +
      'TRL, on the same batches in the same order. From the same weights it gives the losses of ' +
      '`python distill.py --train_loss_path strided`, since TRL leaves out the last position of ' +
      'each row.'
    );
  }
  return (
    'It does not have this run: it mixes in no cross-entropy (`alpha=1` does without), has no ' +
    'skew divergence, no total variation and no losses of routers, and does not mask one ' +
    'document from another. ' +
    'Where a run has one of the three divergences alone, in rows that are not masked and without ' +
    'adapters, its recipe has a script for TRL.'
  );
}
