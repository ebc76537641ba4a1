// The recipe's README.md: readme.md with what depends on the run.

import type { Config } from '../../config';
import { DIVERGENCES } from '../../divergences';
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

/** Whether TRL can express the run's loss, and how. */
function inTrl({ loss, kd_loss, kd_beta, alpha, temperature }: Readonly<Config>): string {
  const kind = loss === 'mixed' && alpha === 1 ? kd_loss : loss;
  if (kind === 'mixed' || kind === 'ce')
    return `It does not have this run’s loss, \`${kind}\`; with \`alpha=1\` it might.`;
  const betas: Record<string, number> = { fkl: 0, rkl: 1, jsd: kd_beta };
  const { label } = DIVERGENCES[kind];
  if (betas[kind] === undefined) return `It does not have this run’s loss, ${label}.`;
  const settings = `lmbda=0.0, beta=${betas[kind]}, temperature=${temperature}`;
  return `This run’s loss, ${label}, is \`GKDConfig(${settings})\`.`;
}
