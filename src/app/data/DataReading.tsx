// How the user's files are read: as texts, dialogues or conversations, and from which of their
// fields or columns.

import { useId } from 'react';
import type { Reading } from '../../worker/protocol';
import { useData } from './store';

const HELP: Record<Reading['format'], string> = {
  text:
    'A .txt file is one document. In .jsonl and .csv files, the chosen text of each row is one ' +
    'document. Each document ends with the end-of-text token.',
  dialogue:
    'Each turn ends with the end-of-text token, as for DialoGPT. ' +
    'In .txt files: one turn per line, an empty line between dialogues. ' +
    'In .jsonl and .csv files: one dialogue per row, as a list of turns or as a turn and its ' +
    'reply; or one dialogue per dialogue id.',
  chat:
    'The teacher’s chat template writes each conversation; with two vocabularies, each model’s ' +
    'own does. In .jsonl files: a list of messages with role and content. In .csv files: a ' +
    'question and its answer. Set “Assistant only” to off to learn the questions too.',
};

/** What the first of the chosen columns holds. */
const FIRST: Record<Reading['format'], string> = {
  text: 'Text',
  dialogue: 'Turns',
  chat: 'Messages',
};

/** The most common names of fields with a text, and with messages. */
const USUAL = { text: 'text', messages: 'messages' };

/** The chosen columns, unless they are the usual ones of another format. */
function readingAs(format: Reading['format'], columns: string[]): Reading {
  const [first] = columns;
  if (format === 'chat')
    return { format, columns: first === USUAL.text ? [USUAL.messages] : columns };
  const own = first === USUAL.messages ? [USUAL.text] : columns;
  return { format, columns: format === 'text' ? own.slice(0, 1) : own };
}

export function DataReading({ locked }: { locked: boolean }) {
  const reading = useData((state) => state.reading);
  const files = useData((state) => state.files);
  const setReading = useData((state) => state.setReading);
  const available = [...new Set(files.flatMap(({ columns }) => columns))];
  const [first, reply] = reading.columns;
  const isDialogue = reading.format === 'dialogue';
  const isText = reading.format === 'text';
  const none = '';
  const setColumns = (...columns: (string | undefined)[]) =>
    setReading({
      ...reading,
      columns: columns.filter((name) => name !== undefined && name !== none) as string[],
    });
  // A chosen name that the files lack is still shown: the message under the file explains it.
  const offered = (chosen: string | undefined) =>
    chosen === undefined || available.includes(chosen) ? available : [chosen, ...available];

  return (
    <div className="data-reading">
      <Choice
        label="Read as"
        value={reading.format}
        disabled={locked}
        options={[
          ['text', 'Texts'],
          ['dialogue', 'Dialogues'],
          ['chat', 'Conversations'],
        ]}
        onChange={(format) => setReading(readingAs(format as Reading['format'], reading.columns))}
      />
      {available.length > 0 && (
        <Choice
          label={FIRST[reading.format]}
          value={first}
          disabled={locked}
          options={offered(first).map((name) => [name, name])}
          onChange={(name) => setColumns(name, reply)}
        />
      )}
      {available.length > 0 && !isText && (
        <Choice
          label="Reply"
          value={reply ?? none}
          disabled={locked}
          options={[
            [none, 'none'],
            ...offered(reply).map((name): [string, string] => [name, name]),
          ]}
          onChange={(name) => setColumns(first, name)}
        />
      )}
      {available.length > 0 && isDialogue && (
        <Choice
          label="Dialogue id"
          value={reading.dialogueId ?? none}
          disabled={locked}
          options={[
            [none, 'none'],
            ...offered(reading.dialogueId).map((name): [string, string] => [name, name]),
          ]}
          onChange={(name) =>
            setReading({ ...reading, dialogueId: name === none ? undefined : name })
          }
        />
      )}
      <p className="help">{HELP[reading.format]}</p>
    </div>
  );
}

function Choice({
  label,
  value,
  options,
  disabled,
  onChange,
}: {
  label: string;
  value: string;
  options: [string, string][];
  disabled: boolean;
  onChange: (value: string) => void;
}) {
  const id = useId();
  return (
    <div className="field field-line">
      <label htmlFor={id}>{label}</label>
      <select
        id={id}
        value={value}
        disabled={disabled}
        onChange={(event) => onChange(event.target.value)}
      >
        {options.map(([option, text]) => (
          <option key={option} value={option}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}
