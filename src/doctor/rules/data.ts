// Rules about the text: whether it fits the tokenizer, the context and the number of steps.

import type { Rule } from '../rule';
import { count, counted, figure, percent } from '../words';

const FEW_TARGETS = 0.5;

export const fewTargets: Rule = {
  title: 'Few targets count',
  watches: 'Targets that are not ignored, beside all positions of a step.',
  threshold: 'Under half: the other half is computed and thrown away.',
  severity: 'warning',
  caveat: 'Ignoring prompts on purpose looks the same.',
  look({ config, steps, facts: { data } }) {
    const recent = steps.slice(-20);
    const all = config.batch_size * config.max_length * config.gradient_accumulation;
    const share = recent.reduce((sum, { tokens }) => sum + tokens, 0) / (recent.length * all);
    // In conversations only what the assistant says counts.
    const asked = data?.learnedShare ?? 1;
    if (recent.length < 5 || share >= FEW_TARGETS * asked) return undefined;
    const alone = config.packing === 'off';
    return {
      text:
        `${percent(share)} of a step’s ${count(all)} targets count; the others are ignored, as ` +
        'padding is.',
      advice: 'Pack documents one after the other, or use a shorter context.',
      change: alone
        ? { packing: 'on' }
        : { max_length: Math.max(2, Math.ceil((config.max_length * share) / 8) * 8) },
      region: { chart: 'loss', from: recent[0].step, to: recent[recent.length - 1].step },
    };
  },
};

const ONE_TOKEN = 0.25;

export const oneTokenDominates: Rule = {
  title: 'One token fills the text',
  watches: 'The most frequent token’s share of the training text.',
  threshold:
    'A quarter: the most frequent token of English prose is under a tenth. A student learns such ' +
    'padding or separators first, and perplexity looks good for it.',
  severity: 'warning',
  caveat: 'In code or tables, white space can be that frequent.',
  look({ facts: { data } }) {
    if (!data || data.mostFrequent.share < ONE_TOKEN) return undefined;
    const { text, share } = data.mostFrequent;
    return {
      text: `${percent(share)} of the training tokens are ${JSON.stringify(text)}.`,
      advice: 'Remove the padding or the separators from the text.',
    };
  },
};

const NEARLY_BYTES = 1.5;
/** As many tokens has a tokenizer that joins bytes: twice as many as there are bytes. */
const JOINS = 512;

export const tokenizerUnfit: Rule = {
  title: 'The tokenizer does not know this text',
  watches: 'Bytes of UTF-8 a token, in the training text.',
  threshold:
    'Under 1.5: a tokenizer that knows no two letters of the text gives 1.0. English gives 2.6 ' +
    'with 1,024 tokens and 4.3 with 50,257. A tokenizer of fewer than 512 tokens is not judged: ' +
    'its tokens are meant to be single bytes.',
  severity: 'warning',
  caveat: 'Numbers and symbols are cut small by many tokenizers.',
  look({ facts: { data, vocabularySize } }) {
    if (!data || data.bytesPerToken >= NEARLY_BYTES || vocabularySize < JOINS) return undefined;
    return {
      text:
        `A token stands for ${figure(data.bytesPerToken)} bytes of this text: the tokenizer was ` +
        'made for another language or another kind of text.',
      advice: 'Choose a teacher that was trained on such text.',
    };
  },
};

const SHORT = 1 / 4;

export const shortDocuments: Rule = {
  title: 'Documents are short beside the context',
  watches: 'The median document’s length and max_length.',
  threshold:
    'A quarter of the context: most of what a model sees in a window is then about something else.',
  severity: 'note',
  caveat: 'Turns of dialogues are short, and packing them is usual.',
  look({ config, facts: { data } }) {
    const T = config.max_length;
    const seen = config.packing === 'on'; // other documents in the same row
    if (!data || !seen || data.documents < 2 || data.medianDocument >= SHORT * T) return undefined;
    const better = Math.max(8, 2 ** Math.ceil(Math.log2(2 * data.medianDocument)));
    if (better >= T) return undefined;
    return {
      text:
        `The median of ${counted(data.documents, 'document')} has ` +
        `${counted(data.medianDocument, 'token')}; a context of ${T} holds about ` +
        `${figure(T / data.medianDocument)} of them.`,
      advice:
        `Use a context of ${better}: more sequences, and less that is not related. Or ` +
        'packing=masked, where attention sees its own document alone.',
      change: { max_length: better },
    };
  },
};

export const batchRepeats: Rule = {
  title: 'Every step sees the same text',
  watches: 'Windows of the training text, beside those of a step.',
  threshold: 'No more windows than a step takes: every step is then the same batch.',
  severity: 'problem',
  caveat: 'To see whether a model can learn one batch by heart is a good test of code.',
  look({ config, facts: { data } }) {
    if (!data) return undefined;
    const { batch_size, gradient_accumulation, train_steps, max_length } = config;
    const perStep = batch_size * gradient_accumulation;
    if (data.windows > perStep || train_steps === 1) return undefined;
    const smaller = Math.max(1, Math.floor(data.windows / 8));
    return {
      text:
        `The training text has ${counted(data.windows, 'window')} of ${max_length} tokens, and a ` +
        `step takes ${perStep}: each step sees all of it again.`,
      advice: 'Use more text; or a smaller batch, so that steps differ.',
      change: { batch_size: smaller, gradient_accumulation: 1 },
    };
  },
};

const MANY_EPOCHS = 20;

export const manyEpochs: Rule = {
  title: 'The text is read many times',
  watches: 'Windows that the run will take, beside those of the training text.',
  threshold:
    '20 passes over the text: language models gain little from repeating text beyond about four, ' +
    'and then learn it by heart.',
  severity: 'note',
  caveat: 'A teacher’s soft targets can be repeated more often than text alone.',
  explainedBy: ['batch-repeats', 'overfitting'],
  look({ config, facts: { data } }) {
    if (!data) return undefined;
    const { batch_size, gradient_accumulation, train_steps } = config;
    const epochs = (train_steps * batch_size * gradient_accumulation) / data.windows;
    if (epochs < MANY_EPOCHS) return undefined;
    return {
      text:
        `${counted(train_steps, 'step')} read the ${counted(data.trainTokens, 'training token')} ` +
        `${figure(epochs)} times.`,
      advice: 'Use more text, or fewer steps.',
      change: { train_steps: Math.max(1, Math.round((train_steps * 4) / epochs)) },
    };
  },
};
