/** The beginning of a text, at most `lengthMax` UTF-16 units, without half a character at its end. */
export function cutText(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text
  const isWithinCharacter = /^[\ud800-\udbff]$/.test(text.charAt(lengthMax - 1))
  return text.slice(0, isWithinCharacter ? lengthMax - 1 : lengthMax)
}
