import { runTransportSuite } from "../../contract/transport-suite.ts";
import { createTcpHarness } from "./tcp-world.ts";

runTransportSuite("tcp", createTcpHarness);
