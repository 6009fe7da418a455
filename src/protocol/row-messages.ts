/**
 * RowDescription, ParameterDescription and DataRow, written by us where we are the server. It knows five types, and what
 * the values are for nobody. PostgreSQL, "Message Formats"; types by the OIDs of pg_type.dat.
 */
import * as type from './message-type.ts';
import { message } from './server-messages.ts';

export type ColumnType = 'text' | 'int4' | 'int8' | 'numeric' | 'bytea';

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
}

/** Numbers are shown as whole ones, and what is too large for an int4 as the largest. */
export type CellValue = string | number | null;

const TYPES: Readonly<Record<ColumnType, { readonly oid: number; readonly length: number }>> = {
  text: { oid: 25, length: -1 },
  int4: { oid: 23, length: 4 },
  int8: { oid: 20, length: 8 },
  numeric: { oid: 1700, length: -1 },
  bytea: { oid: 17, length: -1 },
};

const MAX_INT4 = 0x7fffffff;
const BINARY = 1;

/** `formats` as Bind has them: none is all text, one is for all columns. 0 is text, 1 binary. */
export function rowDescription(columns: readonly Column[], formats: readonly number[] = []): Buffer {
  const count = Buffer.allocUnsafe(2);
  count.writeUInt16BE(columns.length, 0);
  const fields = columns.map(({ name, type: columnType }, index) => {
    const { oid, length } = TYPES[columnType];
    const rest = Buffer.alloc(18);
    rest.writeUInt32BE(oid, 6);
    rest.writeInt16BE(length, 10);
    rest.writeInt32BE(-1, 12);
    rest.writeUInt16BE(formatOf(formats, index), 16);
    return Buffer.concat([Buffer.from(`${name}\0`), rest]);
  });
  return message(type.ROW_DESCRIPTION, Buffer.concat([count, ...fields]));
}

export function dataRow(
  columns: readonly Column[],
  values: readonly CellValue[],
  formats: readonly number[] = [],
): Buffer {
  const count = Buffer.allocUnsafe(2);
  count.writeUInt16BE(columns.length, 0);
  const parts: Buffer[] = [count];
  columns.forEach((column, index) => {
    const cell = encode(column.type, values[index] ?? null, formatOf(formats, index) === BINARY);
    const length = Buffer.allocUnsafe(4);
    length.writeInt32BE(cell?.length ?? -1, 0);
    parts.push(length);
    if (cell !== null) parts.push(cell);
  });
  return message(type.DATA_ROW, Buffer.concat(parts));
}

/** What our statements have: no parameters. */
export const NO_PARAMETERS_MESSAGE: Buffer = message(type.PARAMETER_DESCRIPTION, Buffer.alloc(2));

function formatOf(formats: readonly number[], index: number): number {
  return formats.length === 1 ? formats[0]! : (formats[index] ?? 0);
}

function encode(columnType: ColumnType, value: CellValue, isBinary: boolean): Buffer | null {
  if (value === null) return null;
  if (columnType === 'text' || columnType === 'bytea') return Buffer.from(String(value));
  const whole = Math.trunc(Number(value));
  const number = columnType === 'int4' ? Math.max(-MAX_INT4, Math.min(MAX_INT4, whole)) : whole;
  if (!isBinary) return Buffer.from(String(BigInt(number)));
  if (columnType === 'numeric') return binaryNumeric(number);
  const bytes = Buffer.allocUnsafe(columnType === 'int4' ? 4 : 8);
  if (columnType === 'int4') bytes.writeInt32BE(number, 0);
  else bytes.writeBigInt64BE(BigInt(number), 0);
  return bytes;
}

/** numeric_send: digits of base 10000; how many, weight of the first, sign, digits behind the point. */
function binaryNumeric(value: number): Buffer {
  const digits: number[] = [];
  for (let rest = BigInt(Math.abs(value)); rest > 0n; rest /= 10_000n) digits.unshift(Number(rest % 10_000n));
  const bytes = Buffer.alloc(8 + digits.length * 2);
  bytes.writeUInt16BE(digits.length, 0);
  bytes.writeInt16BE(Math.max(0, digits.length - 1), 2);
  bytes.writeUInt16BE(value < 0 ? 0x4000 : 0, 4);
  digits.forEach((digit, index) => bytes.writeUInt16BE(digit, 8 + index * 2));
  return bytes;
}
