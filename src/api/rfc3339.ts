/**
 * Times on the wire: RFC 3339 with milliseconds, UTC. Plain arithmetic on the proleptic Gregorian
 * calendar; ms since 1970 as integers everywhere inside.
 */
const dayMs = 86_400_000;
/** Days from 1970-01-01 to 0000-03-01, and of 400 years (the calendar's period). */
const epochShift = 719_468;
const eraDays = 146_097;

/**
 * Writes `2026-03-05T08:09:10.011Z`.
 * @param ms - ms since 1970, 0 .. end of the year 9999
 */
export function formatTime(ms: number): string {
  const days = Math.floor(ms / dayMs);
  const inDay = ms - days * dayMs;
  // Years count from March, so that the leap day is the last one.
  const shifted = days + epochShift;
  const era = Math.floor(shifted / eraDays);
  const dayOfEra = shifted - era * eraDays;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const hour = Math.floor(inDay / 3_600_000);
  const minute = Math.floor(inDay / 60_000) % 60;
  const second = Math.floor(inDay / 1000) % 60;
  const fraction = Math.floor(inDay % 1000);
  const date = `${year < 1000 ? String(year).padStart(4, "0") : year}-${two(month)}-${two(day)}`;
  const millis = fraction < 10 ? `00${fraction}` : fraction < 100 ? `0${fraction}` : fraction;
  return `${date}T${two(hour)}:${two(minute)}:${two(second)}.${millis}Z`;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

const form =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/u;

/**
 * Reads an RFC 3339 time. A part of a millisecond counts as a whole one: never before its time.
 * A leap second (:60) is the first moment of the next minute.
 * @returns ms since 1970, negative before that; undefined when the text is no such time
 */
export function parseTime(text: string): number | undefined {
  const found = form.exec(text);
  if (found === null) return undefined;
  const [, yearText, monthText, dayText, hourText, minuteText, secondText, fraction] = found;
  const year = Number(yearText);
  const month = Number(monthText);
  const day = Number(dayText);
  const hour = Number(hourText);
  const minute = Number(minuteText);
  const second = Number(secondText);
  const offsetHours = Number(found[9] ?? 0);
  const offsetMinutes = Number(found[10] ?? 0);
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return undefined;
  if (hour > 23 || minute > 59 || second > 60) return undefined;
  if (offsetHours > 23 || offsetMinutes > 59) return undefined;
  const sign = found[8] === "-" ? -1 : 1;
  const offsetMs = sign * (offsetHours * 60 + offsetMinutes) * 60_000;
  const fractionMs = fraction === undefined ? 0 : Math.ceil(Number(fraction.padEnd(9, "0")) / 1e6);
  const inDay = ((hour * 60 + minute) * 60 + second) * 1000 + fractionMs;
  return daysSince1970(year, month, day) * dayMs + inDay - offsetMs;
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function daysSince1970(year: number, month: number, day: number): number {
  const fromMarch = month <= 2 ? year - 1 : year;
  const era = Math.floor(fromMarch / 400);
  const yearOfEra = fromMarch - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * eraDays + dayOfEra - epochShift;
}
