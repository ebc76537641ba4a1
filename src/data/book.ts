// The built-in book as one text: chapters in order, a blank line between paragraphs. Pure; the
// files are read elsewhere.

/**
 * Joins chapter texts, whose paragraphs are single lines with a blank line between them. Runs of
 * spaces (verses, footnotes: what is left of an old layout) become one; every other character
 * stays. Returns a text that ends with one line break. Throws where a chapter holds no text.
 */
export function joinBook(chapters: readonly { name: string; text: string }[]): string {
  const paragraphs = chapters.flatMap(({ name, text }) => {
    const lines = text
      .split(/\r?\n/)
      .map((line) => line.trim().replace(/\s+/g, ' '))
      .filter((line) => line !== '');
    if (lines.length === 0)
      throw new Error(`join the book: ${name} holds no text. Install the dependencies again.`);
    return lines;
  });
  return paragraphs.join('\n\n') + '\n';
}
