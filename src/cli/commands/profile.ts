/** `quorumq profile`: see ../profiles.ts for where they are kept. */
import { resolve } from "node:path";
import { cliExitCodes, usageError } from "../exit-codes.ts";
import { readToken } from "../inputs.ts";
import { type Profile, Profiles } from "../profiles.ts";
import type { GlobalFlags, Session } from "../session.ts";

export interface ProfileFlags extends GlobalFlags {
  readonly tokenStdin?: boolean;
}

/** @returns the exit code */
export async function runProfile(
  session: Session,
  verb: "set" | "use" | "show" | "remove" | "list",
  args: readonly string[],
  flags: ProfileFlags,
): Promise<number> {
  const { output, terminal } = session;
  const profiles = new Profiles(terminal.env);
  const name = args[0] ?? "";
  switch (verb) {
    case "set":
      profiles.write(name, await profileOf(session, flags));
      output.answer({ profile: name }, () => []);
      break;
    case "use":
      profiles.use(name);
      output.answer({ current: name }, () => []);
      break;
    case "remove":
      profiles.remove(name);
      output.answer({ removed: name }, () => []);
      break;
    case "show": {
      const shown = masked(profiles.read(name));
      output.answer({ name, ...shown }, () => output.fields(Object.entries(shown)));
      break;
    }
    case "list": {
      const current = profiles.current();
      const names = profiles.list();
      output.answer({ profiles: names, current: current ?? null }, () =>
        names.map((each) => (each === current ? `${each} *` : each)),
      );
      break;
    }
  }
  return cliExitCodes.ok;
}

async function profileOf(session: Session, flags: ProfileFlags): Promise<Profile> {
  const { http, grpc, tokenFile, tokenStdin } = flags;
  if (tokenFile !== undefined && tokenStdin === true) {
    throw usageError("--token-stdin: not with --token-file");
  }
  if (tokenFile === "-")
    throw usageError("--token-file: a path here; --token-stdin keeps the text");
  if (http === undefined && grpc === undefined && tokenFile === undefined && tokenStdin !== true) {
    throw usageError("profile: needs one of --http, --grpc, --token-file, --token-stdin");
  }
  return {
    ...(http !== undefined && { http }),
    ...(grpc !== undefined && { grpc }),
    ...(tokenFile !== undefined && { tokenFile: resolve(tokenFile) }),
    ...(tokenStdin === true && { token: await readToken(session.terminal, "-") }),
  };
}

function masked(profile: Profile): Profile {
  return profile.token === undefined ? profile : { ...profile, token: "***" };
}
