export { parseJson } from './json.ts'
export { lineOfText, linesOfText } from './text.ts'
export { validate } from './validate.ts'
