// Joins the built-in book's chapters into one text. Pure: the files are read elsewhere.

/**
 * The chapters in order, with a blank line between paragraphs and one line break at the end. A
 * paragraph is one line. Runs of spaces, left over from the layout of verses and footnotes, become
 * one space; every other character stays.
 * @throws Error for a chapter without text
 */
export function joinBook(chapters: readonly { name: string; text: string }[]): string {
  const paragraphs = chapters.flatMap(({ name, text }) => {
    const lines = text
      .split(/\r?\n/)
      .map((line) => line.trim().replace(/\s+/g, ' '))
      .filter((line) => line !== '');
    if (lines.length === 0)
      throw new Error(`join the book: ${name} has no text. Install the dependencies again.`);
    return lines;
  });
  return paragraphs.join('\n\n') + '\n';
}
