/** The logger that an application may hand over. */

/** A line of a log. @param fields - what is known; @param text - what happened */
export type LogLine = (fields: object, text: string) => void;

/** What the SDK and handlers write to; a pino logger is one. */
export interface ClientLogger {
  readonly debug: LogLine;
  readonly info: LogLine;
  readonly warn: LogLine;
  readonly error: LogLine;
  /** A logger whose lines have these fields, too. */
  child(fields: object): ClientLogger;
}

const nothing: LogLine = () => undefined;

/** Says nothing: the default. */
export const silentLogger: ClientLogger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silentLogger,
};
