// The words of the field that the page uses, each with a definition of one or two sentences. Every
// definition on the page comes from here. Pure.

interface Entry {
  name: string;
  definition: string;
}

export const GLOSSARY = {
  distillation: {
    name: 'distillation',
    definition:
      'Training a small model, the student, to predict as a larger trained model does, the ' +
      'teacher. The student learns from every probability that the teacher gives, not only from ' +
      'the text.',
  },
  teacher: {
    name: 'teacher',
    definition:
      'The model to learn from. It is trained already and does not change; only its predictions ' +
      'are used.',
  },
  student: {
    name: 'student',
    definition: 'The smaller model that is trained here, in this tab.',
  },
  parameters: {
    name: 'parameters',
    definition: 'The numbers that a model learns. Fewer make it smaller and faster.',
  },
  token: {
    name: 'token',
    definition: 'The unit that a model reads and writes: a word, a part of a word, or a sign.',
  },
  logits: {
    name: 'logits',
    definition:
      'The raw scores of a model, one for each token that could come next. Softmax turns them ' +
      'into probabilities.',
  },
  loss: {
    name: 'loss',
    definition:
      'The number that training makes smaller. In the mixed loss, KD compares the student with ' +
      'the teacher and CE compares it with the text.',
  },
  ce: {
    name: 'CE',
    definition:
      'Cross-entropy: how much the real next token surprises the student, in nats. It needs the ' +
      'text alone, no teacher.',
  },
  kd: {
    name: 'KD',
    definition:
      'Knowledge distillation: how far the student’s probabilities are from the teacher’s, both ' +
      'softened by the temperature T.',
  },
  kl: {
    name: 'KL',
    definition:
      'Kullback–Leibler divergence: how far the student’s probabilities are from the teacher’s, ' +
      'in nats per token. 0 means that they are equal.',
  },
  nats: {
    name: 'nats',
    definition: 'The unit of information with natural logarithms. One nat is 1.44 bits.',
  },
  alpha: {
    name: 'α',
    definition:
      'Alpha, the teacher’s weight in the loss: at 1 the student learns from the teacher alone, ' +
      'at 0 from the text alone.',
  },
  temperature: {
    name: 'T',
    definition:
      'Temperature: logits are divided by T before softmax. Above 1, unlikely tokens count for ' +
      'more, so the student also learns what the teacher considers nearly right.',
  },
  perplexity: {
    name: 'perplexity',
    definition:
      'How unsure a model is of the next token: at 100, as if it had to choose among 100 equally ' +
      'likely ones. Lower is better. It is e to the power of the cross-entropy. Logs call it PPL.',
  },
  bitsPerCharacter: {
    name: 'bits per character',
    definition:
      'How many bits a model’s guesses leave to tell, for each character of text that it never ' +
      'saw. Lower is better. Models with different tokens can be compared by it, which ' +
      'perplexity does not allow.',
  },
  heldOut: {
    name: 'held-out text',
    definition:
      'Text that is kept out of training, so that the evaluation measures what was learned, not ' +
      'what was memorised.',
  },
  agreement: {
    name: 'agreement',
    definition:
      'The share of held-out positions at which student and teacher name the same token as the ' +
      'most likely next one.',
  },
  step: {
    name: 'step',
    definition: 'One update of the student’s parameters, computed from one batch of text.',
  },
  context: {
    name: 'context',
    definition: 'The number of tokens in a sequence: the furthest that a model can look back.',
  },
  packing: {
    name: 'packing',
    definition:
      'Putting documents one after the other, so that every position of a row has a token. ' +
      'Attention then also sees the document before, which has nothing to do with this one, ' +
      'unless it is masked (intra-document masking): each token then sees its own document ' +
      'alone, and positions begin again with each, as if it had a row of its own. Without ' +
      'packing it has one, but the empty rest of the row is computed for nothing.',
  },
  chatTemplate: {
    name: 'chat template',
    definition:
      'How a model writes a conversation as one text: which marks begin and end each turn. It ' +
      'comes with the tokenizer. Only what the assistant says is worth learning, since a person ' +
      'writes the rest.',
  },
  expertLoad: {
    name: 'expert load',
    definition:
      'A layer with experts has many small perceptrons, and a router that chooses a few of them ' +
      'for each token. An expert’s load is its share of those choices. One that is never chosen ' +
      'is dead: it does not learn.',
  },
  routerEntropy: {
    name: 'router entropy',
    definition:
      'How undecided a router is between its experts: 1 if all are as likely, 0 if it is certain ' +
      'of one for each token. A router that is certain can still share the tokens among all.',
  },
  learningRate: {
    name: 'learning rate',
    definition: 'How far a step moves the parameters. Too high diverges, too low learns slowly.',
  },
  gradNorm: {
    name: 'gradient norm',
    definition:
      'The length of the gradient: how strongly a batch pulls at the parameters. A gradient that ' +
      'is longer than the clip line is shortened to it.',
  },
  lossScale: {
    name: 'loss scale',
    definition:
      'A factor on the loss that keeps small gradients from vanishing in f16. It is halved when ' +
      'a gradient overflows.',
  },
  f16: {
    name: 'f16',
    definition:
      '16-bit floating-point numbers, half the size of f32. The losses are computed in f32 ' +
      'either way.',
  },
} as const satisfies Record<string, Entry>;

export type TermName = keyof typeof GLOSSARY;
