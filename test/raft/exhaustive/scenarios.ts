/** What is searched: small enough to be seen whole, or as far as the budget goes. */
import type { Scenario } from "./search.ts";

const fresh: Scenario = {
  name: "",
  logs: [[], [], []],
  maxTerm: 1,
  proposals: 0,
  crashes: 0,
  learners: [],
  changes: 0,
  heartbeats: false,
  preVote: false,
  slowDisks: [],
  maxStates: 0,
};

/** S1 led term 1 and S3 term 2, each with an entry that nobody else has: the start of figure 8. */
const figure8 = [[1], [], [2]];

/** Seen whole within seconds. */
export function smallScenarios(maxStates: number): Scenario[] {
  return [
    { ...fresh, name: "one term, a proposal, a crash", proposals: 1, crashes: 1, maxStates },
    { ...fresh, name: "two terms", maxTerm: 2, maxStates },
    { ...fresh, name: "figure 8, one more term", logs: figure8, maxTerm: 3, maxStates },
    { ...fresh, name: "a learner becomes a voter", learners: [3], changes: 1, maxStates },
  ];
}

/** As far as the budget goes. */
export function largeScenarios(maxStates: number): Scenario[] {
  return [
    { ...fresh, name: "two terms, a crash", maxTerm: 2, crashes: 1, maxStates },
    { ...fresh, name: "two terms, a proposal", maxTerm: 2, proposals: 1, maxStates },
    { ...fresh, name: "three terms", maxTerm: 3, maxStates },
    { ...fresh, name: "three terms, a crash", maxTerm: 3, crashes: 1, maxStates },
    {
      ...fresh,
      name: "three terms, three proposals, a crash",
      maxTerm: 3,
      proposals: 3,
      crashes: 1,
      maxStates,
    },
    {
      ...fresh,
      name: "a learner becomes a voter, two terms",
      learners: [3],
      changes: 1,
      maxTerm: 2,
      crashes: 1,
      maxStates,
    },
    {
      ...fresh,
      name: "two learners become voters, two terms",
      learners: [2, 3],
      changes: 1,
      maxTerm: 2,
      maxStates,
    },
    { ...fresh, name: "heartbeats", heartbeats: true, proposals: 1, maxStates },
    { ...fresh, name: "pre-votes", preVote: true, maxTerm: 2, crashes: 1, maxStates },
    { ...fresh, name: "slow disks, a crash", slowDisks: [1, 2, 3], crashes: 1, maxStates },
    { ...fresh, name: "two terms, one slow disk", maxTerm: 2, slowDisks: [1], maxStates },
    { ...fresh, name: "figure 8, two more terms", logs: figure8, maxTerm: 4, maxStates },
    {
      ...fresh,
      name: "figure 8, two more terms, a crash",
      logs: figure8,
      maxTerm: 4,
      crashes: 1,
      maxStates,
    },
  ];
}

/** Mistakes that the search must find, each with where to look for it. */
export interface PlantedSearch {
  readonly id: string;
  readonly scenario: Scenario;
}

export function plantedSearches(maxStates: number): PlantedSearch[] {
  const twoTerms = { ...fresh, maxTerm: 2, crashes: 1, maxStates };
  return [
    { id: "B1", scenario: { ...fresh, crashes: 1, maxStates } },
    { id: "B2", scenario: { ...fresh, maxStates } },
    { id: "B8", scenario: { ...twoTerms, crashes: 0 } },
    { id: "B13", scenario: { ...fresh, logs: figure8, maxTerm: 4, maxStates } },
    { id: "B14", scenario: { ...fresh, proposals: 2, maxStates } },
    { id: "B15b", scenario: { ...fresh, heartbeats: true, proposals: 1, maxStates } },
    { id: "B16", scenario: { ...fresh, logs: figure8, maxTerm: 3, maxStates } },
    { id: "B18", scenario: twoTerms },
    { id: "B19", scenario: { ...twoTerms, slowDisks: [1] } },
  ];
}
