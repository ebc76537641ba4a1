// The whole glossary, in a drawer.

import { GLOSSARY } from '../shared/glossary';

export function Glossary() {
  return (
    <dl className="glossary">
      {Object.entries(GLOSSARY).map(([key, { name, definition }]) => (
        <div key={key}>
          <dt>{name}</dt>
          <dd>{definition}</dd>
        </div>
      ))}
    </dl>
  );
}
