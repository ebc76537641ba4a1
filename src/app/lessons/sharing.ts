// The lesson on routers: it is trained while somebody watches (LiveExperts.tsx), so that it needs
// nothing of what was recorded. Pure.

import type { Lesson } from './scene';
import { EXPERTS } from './tiny-experts';

/** Of the balance loss. Large runs take 0.01; a few hundred steps of a small one need more. */
const WEIGHTS = [0, 0.02, 0.05, 0.2, 0.5];

export const sharing = (): Lesson => ({
  id: 'experts',
  title: 'Why experts must be balanced',
  setting:
    `A layer has ${EXPERTS} experts, small perceptrons, and a router sends each letter of a text ` +
    'to one of them. The model predicts the next letter. It is trained here, in this tab, from ' +
    'random weights.',
  question:
    'Nothing asks the router to share the letters out. How are they shared after 160 steps?',
  options: ['About a quarter each', 'Two experts get half each', 'One expert gets nearly all'],
  right: 2,
  control: { name: 'Balance loss', symbol: 'its weight', values: WEIGHTS, start: 0 },
  live: true,
  answer:
    'An expert that happens to be chosen more often learns more, so the router chooses it more ' +
    'often still. The others see no letters and learn nothing. Now move the slider to 0.2: the ' +
    'balance loss rewards the router for even shares, and within about 50 steps all work again. ' +
    'Move it back to 0: the shares mostly stay, since each expert has learned something that the ' +
    'others have not. ' +
    'From other random weights there is another cure: at 0, switch a bias on. It is added to the ' +
    'router’s probabilities where an expert is chosen, and only there; after each step it rises ' +
    'for experts with few letters and falls for the others, and the loss is left alone. ' +
    'A student with experts has both settings, the weight of the balance loss and the rate of ' +
    'the bias.',
  scene: (weight) => ({
    panels: [],
    facts:
      weight === undefined
        ? []
        : [
            ['Weight of the balance loss', String(weight)],
            ['An even share', `${100 / EXPERTS}%`],
          ],
  }),
});
