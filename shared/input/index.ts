export { parseJson } from './json.ts'
export { decimalInteger } from './numbers.ts'
export { lineOfText, linesOfText } from './text.ts'
export { validate } from './validate.ts'
