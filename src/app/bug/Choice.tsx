// An option with a few values, as radio buttons side by side.

interface ChoiceProps<Value extends string> {
  legend: string;
  choices: readonly { value: Value; label: string }[];
  value: Value;
  onChoose: (value: Value) => void;
  disabled?: boolean;
  help?: string;
}

export function Choice<Value extends string>({
  legend,
  choices,
  value,
  onChoose,
  disabled,
  help,
}: ChoiceProps<Value>) {
  return (
    <fieldset className="choice" disabled={disabled}>
      <legend>{legend}</legend>
      <div className="choice-values">
        {choices.map((choice) => (
          <label key={choice.value} className={choice.value === value ? 'chosen' : undefined}>
            <input
              type="radio"
              name={legend}
              checked={choice.value === value}
              onChange={() => onChoose(choice.value)}
              className="visually-hidden"
            />
            {choice.label}
          </label>
        ))}
      </div>
      {help && <p className="help">{help}</p>}
    </fieldset>
  );
}
