export { ArrowRows } from './rows.ts'
export { fieldOf as fieldOfArrow, isOpenType } from './schema.ts'
export { readArrowFields } from './stream.ts'
