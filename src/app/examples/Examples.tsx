// The examples gallery: cards that open a run's settings, a lesson or a lab. They start nothing.

import { EXAMPLES } from './examples';
import './examples.css';

/** Of every picture, in pixels. */
const [WIDTH, HEIGHT] = [400, 250];

export function Examples() {
  return (
    <div className="room examples">
      <main>
        <p className="examples-intro">
          Each card opens a lesson, a lab, or the settings of a run. Nothing starts until you press
          its button.
        </p>
        {EXAMPLES.map(({ title, examples }) => (
          <section key={title} aria-label={title}>
            <h2>{title}</h2>
            <ul className="cards">
              {examples.map((example) => (
                <li key={example.name}>
                  <a href={example.hash}>
                    <img
                      src={`examples/${example.name}.webp`}
                      width={WIDTH}
                      height={HEIGHT}
                      loading="lazy"
                      alt=""
                    />
                    <strong>{example.title}</strong>
                    <span>{example.sentence}</span>
                  </a>
                </li>
              ))}
            </ul>
          </section>
        ))}
      </main>
    </div>
  );
}
