// Three sentences for who has never heard of distillation. Once dismissed they never come back.

import { remember } from '../shared/remembered';
import { labHash } from '../shared/rooms';
import { Term } from '../shared/Term';
import { startTour } from '../tour/start';
import { useRun } from './store';

export function Intro() {
  const welcoming = useRun((state) => state.welcoming);
  const dismiss = useRun((state) => state.dismiss);
  if (!welcoming) return null;
  const end = () => {
    remember('introduced');
    dismiss('welcome');
  };
  return (
    <section className="intro" aria-label="What this is">
      <p>
        A language model guesses the next <Term of="token">token</Term> of a text, over and over;
        this page trains a small one, the <Term of="student">student</Term>, in your browser.{' '}
        <Term of="distillation">Distillation</Term> means that it learns from all the guesses of a
        larger trained model, the <Term of="teacher">teacher</Term>, and not only from the text. The
        result is good when the student’s <Term of="perplexity">perplexity</Term> ends below twice
        the teacher’s and its sentences begin to sound like the teacher’s.
      </p>
      <div className="intro-tools">
        <button
          type="button"
          className="quiet outlined"
          onClick={() => {
            end();
            void startTour();
          }}
        >
          Show me around
        </button>
        <a className="quiet outlined" href={labHash('examples', '')}>
          Examples
        </a>
        <button type="button" className="quiet" onClick={end}>
          Got it
        </button>
      </div>
    </section>
  );
}
