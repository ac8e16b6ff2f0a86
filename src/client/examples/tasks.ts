/** The tasks of these examples: payload type by queue, shared by whoever creates and works. */
export interface Tasks {
  mail: { readonly to: string; readonly subject: string };
  thumbnail: { readonly image: string; readonly width?: number };
  resize: { readonly image: string };
  publish: { readonly image: string; readonly bytes: number };
  sum: { readonly numbers: readonly number[] };
}
