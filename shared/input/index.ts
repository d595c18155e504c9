export { parseJson } from './json.ts'
export { validate } from './validate.ts'
